//! Files stay small enough to hold in one's head.

use super::Source;

/// Lines, tests included. Most files are half of this.
const LIMIT: usize = 600;

/// Files beyond the limit.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| source.path.extension().is_some_and(|end| end == "rs"))
        .map(|source| (source, source.text.lines().count()))
        .filter(|&(_, lines)| lines > LIMIT)
        .map(|(source, lines)| {
            format!(
                "{}: {lines} lines; split it by what it does (the limit is {LIMIT})",
                source.path.display()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_allowed() {
        let source = |lines| Source { path: "a.rs".into(), text: "x\n".repeat(lines) };
        assert!(check(&[source(LIMIT)]).is_empty());
        assert_eq!(check(&[source(LIMIT + 1)]).len(), 1);
    }
}
