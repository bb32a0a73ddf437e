//! `SET 'key' = 'value'`: what can be set, under Flink's names where Flink has one.

use std::collections::BTreeMap;

use millstream_engine::suggest::did_you_mean;
use millstream_operators::MiniBatch;

use crate::error::SqlError;
use crate::parse::{Name, Text};
use crate::program::Settings;

/// The settings of mini-batches.
const ENABLED: &str = "table.exec.mini-batch.enabled";
const LATENCY: &str = "table.exec.mini-batch.allow-latency";
const SIZE: &str = "table.exec.mini-batch.size";
/// What is held back at most, where it is not said.
const MINI_BATCH_ROWS: usize = 5_000;

/// What `SET` sets, with what that is.
pub const SETTINGS: &[(&str, &str)] = &[
    ("pipeline.name", "name of the pipeline in metrics and logs"),
    ("parallelism.default", "how many workers run it"),
    ("table.local-time-zone", "zone of TIMESTAMP_LTZ and of functions of the day, such as Europe/Berlin"),
    (
        "execution.checkpointing.interval",
        "how often state is made safe where there is a --state folder; 10 s if not set",
    ),
    (
        "execution.checkpointing.dir",
        "where checkpoints of the --state folder are copied to: s3://BUCKET/FOLDER or file:///FOLDER",
    ),
    ("execution.checkpointing.dir.interval", "how often they are copied there; 1 min if not set"),
    ("execution.checkpointing.num-retained", "how many stay there; 3 if not set"),
    (
        "table.exec.state.ttl",
        "how long state of a key is kept that is not written, such as 1 d; 0 keeps it for ever",
    ),
    ("table.exec.source.idle-timeout", "scan.watermark.idle-timeout of tables that do not say"),
    (
        ENABLED,
        "GROUP BY without a window and Top-N hold changes back for a while, so that many of a key become one: true or false",
    ),
    (LATENCY, "for how long, such as 2 s"),
    (SIZE, "until how many rows have come; 5000 if not set"),
];

/// Flink's keys that files written for Flink carry, and that make no difference here.
const WITHOUT_EFFECT: &[&str] = &[
    "execution.runtime-mode",
    "execution.checkpointing.mode",
    "sql-client.execution.result-mode",
    "sql-client.execution.mode",
    "pipeline.auto-watermark-interval",
    "pipeline.object-reuse",
    "table.dml-sync",
    "table.exec.sink.not-null-enforcer",
    "table.optimizer.agg-phase-strategy",
    "table.optimizer.distinct-agg.split.enabled",
];

/// Reads all `SET`s of a text; `over` wins over them.
pub(crate) fn read<'a>(
    text: &Text<'_>,
    sets: impl Iterator<Item = (&'a Name, &'a str)>,
    over: &BTreeMap<String, String>,
) -> Result<Settings, SqlError> {
    let (mut settings, mut batches) = (Settings::default(), MiniBatches::default());
    for (key, value) in sets {
        apply(&mut settings, &mut batches, &key.text, value).map_err(|(message, remedy)| {
            SqlError::at(message, text.as_str(), key.range.clone()).remedy(remedy)
        })?;
        if key.text == ENABLED {
            batches.place = Some(key.range.clone());
        }
    }
    for (key, value) in over {
        apply(&mut settings, &mut batches, key, value)
            .map_err(|(message, remedy)| SqlError::new(message).remedy(remedy))?;
    }
    if batches.enabled {
        let rows_max = batches.rows_max.unwrap_or(MINI_BATCH_ROWS);
        let Some(latency_ms) = batches.latency_ms else {
            let message = format!("'{ENABLED}' needs '{LATENCY}'");
            let error = match batches.place {
                Some(place) => SqlError::at(message, text.as_str(), place),
                None => SqlError::new(message),
            };
            return Err(
                error.remedy(format!("say for how long changes may be held back: SET '{LATENCY}' = '2 s'"))
            );
        };
        settings.mini_batch = Some(MiniBatch { latency_ms, rows_max });
    }
    Ok(settings)
}

/// The settings of mini-batches, each by itself.
#[derive(Default)]
struct MiniBatches {
    enabled: bool,
    latency_ms: Option<i64>,
    rows_max: Option<usize>,
    /// Where they are switched on.
    place: Option<std::ops::Range<usize>>,
}

fn apply(
    settings: &mut Settings,
    batches: &mut MiniBatches,
    key: &str,
    value: &str,
) -> Result<(), (String, String)> {
    let wrong = |wanted: &str| (format!("'{value}' is no value for '{key}'"), format!("give {wanted}"));
    match key {
        "pipeline.name" => settings.pipeline_name = Some(value.to_owned()),
        "parallelism.default" => {
            let workers = value.parse().ok().filter(|workers| (1..=128).contains(workers));
            settings.workers = Some(workers.ok_or_else(|| wrong("a number from 1 to 128"))?);
        }
        "table.local-time-zone" => {
            settings.local_time_zone =
                value.parse().map_err(|_| wrong("a zone's name, such as UTC or Europe/Berlin"))?;
        }
        "execution.checkpointing.interval" => {
            let interval_ms = millstream_engine::options::parse_duration_ms(value).filter(|ms| *ms > 0);
            settings.checkpoint_interval_ms =
                Some(interval_ms.ok_or_else(|| wrong("a duration, such as 10 s"))?);
        }
        "execution.checkpointing.dir" => settings.checkpoint_dir = Some(value.to_owned()),
        "execution.checkpointing.dir.interval" => {
            let interval_ms = millstream_engine::options::parse_duration_ms(value).filter(|ms| *ms > 0);
            settings.checkpoint_dir_interval_ms =
                Some(interval_ms.ok_or_else(|| wrong("a duration, such as 5 min"))?);
        }
        "execution.checkpointing.num-retained" => {
            let retained = value.parse().ok().filter(|retained| *retained > 0);
            settings.checkpoints_retained = Some(retained.ok_or_else(|| wrong("a number from 1 on"))?);
        }
        "table.exec.state.ttl" => {
            let ttl_ms = millstream_engine::options::parse_duration_ms(value).filter(|ms| *ms >= 0);
            settings.state_ttl_ms = Some(ttl_ms.ok_or_else(|| wrong("a duration, such as 1 d, or 0"))?);
        }
        "table.exec.source.idle-timeout" => {
            let timeout_ms = millstream_engine::options::parse_duration_ms(value);
            settings.idle_timeout_ms = Some(timeout_ms.ok_or_else(|| wrong("a duration, such as 30 s"))?);
        }
        ENABLED => {
            let enabled = value.to_ascii_lowercase().parse().ok();
            batches.enabled = enabled.ok_or_else(|| wrong("true or false"))?;
        }
        LATENCY => {
            let latency_ms = millstream_engine::options::parse_duration_ms(value).filter(|ms| *ms > 0);
            batches.latency_ms = Some(latency_ms.ok_or_else(|| wrong("a duration, such as 2 s"))?);
        }
        SIZE => {
            let rows_max = value.parse().ok().filter(|rows| *rows > 0);
            batches.rows_max = Some(rows_max.ok_or_else(|| wrong("a number of rows, such as 5000"))?);
        }
        _ if WITHOUT_EFFECT.contains(&key) => {
            tracing::debug!(key, "this setting of Flink's makes no difference here");
        }
        _ => {
            let near = did_you_mean(key, SETTINGS.iter().map(|(known, _)| *known));
            let near = near.map_or(String::new(), |near| format!("did you mean '{near}'? "));
            let known: Vec<String> =
                SETTINGS.iter().map(|(known, help)| format!("'{known}' ({help})")).collect();
            return Err((
                format!("there is no setting '{key}'"),
                format!("{near}There are: {}", known.join(", ")),
            ));
        }
    }
    Ok(())
}
