//! How many instances write a table, and that every row reaches one of them.

use millstream::Pipeline;

/// Rows that each instance of the sink took, with two workers.
fn written(options: &str, query: &str) -> Vec<u64> {
    let pipeline = Pipeline::builder()
        .workers(2)
        .sql(format!(
            "CREATE TABLE one (n BIGINT, k BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '20000', 'rows-per-second' = '1000000', \
             'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '20000', \
             'fields.k.min' = '1', 'fields.k.max' = '50');
             CREATE TABLE out_there (n BIGINT, k BIGINT) WITH ('connector' = 'blackhole' {options});
             INSERT INTO out_there {query};"
        ))
        .start()
        .unwrap();
    pipeline.wait().unwrap();
    let sinks = pipeline.metrics().iter().filter(|part| part.operator == "out_there");
    sinks.map(|part| part.rows_in.get()).collect()
}

#[test]
fn sink_parallelism_spreads_and_gathers() {
    let pass = "SELECT n, k FROM one";
    assert_eq!(written(", 'sink.parallelism' = '1'", pass), [20_000]);
    let spread = written(", 'sink.parallelism' = '2'", pass);
    assert!(spread.iter().sum::<u64>() == 20_000 && spread.iter().all(|rows| *rows > 0), "{spread:?}");
    // Two workers make no third instance.
    assert_eq!(written(", 'sink.parallelism' = '3'", pass).len(), 2);
    let counts = "SELECT COUNT(*), k FROM one GROUP BY k";
    assert_eq!(written("", counts).len(), 2);
    assert_eq!(written(", 'sink.parallelism' = '1'", counts).len(), 1);
    assert_eq!(written(", 'sink.parallelism' = '2'", "SELECT COUNT(*), MIN(k) FROM one").len(), 1);
}

#[test]
fn no_instance_at_all_is_refused() {
    let refused = Pipeline::builder()
        .sql(
            "CREATE TABLE b (n BIGINT) WITH ('connector' = 'blackhole', 'sink.parallelism' = '0');
             INSERT INTO b SELECT 1",
        )
        .start();
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("'sink.parallelism'") && message.contains("above 0"), "{message}");
}
