//! The nearest known name to a mistyped one.

/// The candidate that is at most a third of its length away from `name` in edits, nearest first.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typos_and_leaves_strangers() {
        assert_eq!(did_you_mean("tumbel", ["tumble", "hop"]), Some("tumble"));
        assert_eq!(did_you_mean("zebra", ["tumble", "hop"]), None);
    }
}
