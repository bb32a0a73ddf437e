//! Which package may use which: engine <- operators, engine <- connectors, engine + operators <- sql, all <- facade.

use std::process::Command;

/// The packages that `package` is built of, tests aside.
fn dependencies(package: &str, features: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            package,
        ])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<String> =
        text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names.retain(|name| name != package);
    names
}

fn refuse(package: &str, features: &[&str], prefixes: &[&str]) {
    let dependencies = dependencies(package, features);
    assert!(!dependencies.is_empty());
    for prefix in prefixes {
        let found: Vec<_> = dependencies.iter().filter(|name| name.starts_with(prefix)).collect();
        assert!(found.is_empty(), "{package} must not use {found:?}");
    }
}

#[test]
fn the_engine_knows_no_sql_no_operator_and_no_connector() {
    refuse(
        "millstream-engine",
        &["--all-features"],
        &["datafusion", "sqlparser", "millstream", "rumqtt", "hyper"],
    );
}

#[test]
fn operators_and_connectors_do_not_see_each_other_nor_the_planner() {
    refuse(
        "millstream-operators",
        &["--all-features"],
        &["datafusion", "sqlparser", "millstream-connectors", "millstream-sql", "rumqtt", "hyper"],
    );
    refuse(
        "millstream-connectors",
        &["--all-features"],
        &["datafusion", "sqlparser", "millstream-operators", "millstream-sql"],
    );
}

#[test]
fn sql_knows_no_connector_and_not_the_umbrella_crate() {
    let dependencies = dependencies("millstream-sql", &["--all-features"]);
    assert!(dependencies.iter().any(|name| name == "datafusion-expr"));
    for refused in ["datafusion", "millstream-connectors"] {
        assert!(!dependencies.iter().any(|name| name == refused), "millstream-sql must not use {refused}");
    }
}

#[test]
fn without_default_features_the_library_is_small() {
    refuse(
        "millstream",
        &["--no-default-features"],
        &["datafusion", "sqlparser", "rumqtt", "hyper", "clap", "rustls", "millstream-sql"],
    );
    let crates = dependencies("millstream", &["--no-default-features"]).len();
    assert!(crates < 60, "{crates} crates, with those that only build");
}
