//! SECURITY.md promises tests; each one it names has to exist.

use super::Source;

/// Names in backticks that look like those of tests: words joined by at least three underscores.
fn promised(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|word| {
        word.matches('_').count() >= 3
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

/// Tests that SECURITY.md names and nobody wrote.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let is = |source: &&Source| source.path.ends_with("SECURITY.md");
    let Some(promises) = sources.iter().find(is) else {
        return vec!["SECURITY.md: there is none".into()];
    };
    let exists = |name: &str| {
        let head = format!("fn {name}(");
        sources.iter().any(|source| !is(&source) && source.text.contains(&head))
    };
    promised(&promises.text)
        .filter(|name| !exists(name))
        .map(|name| format!("SECURITY.md: names the test `{name}`, which does not exist"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_without_a_test_is_told() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let promises =
            source("SECURITY.md", "| x | `it_is_so_and_so` | `CAP_SYS_ADMIN` `some_word`");
        let test = source("a.rs", "fn it_is_so_and_so() {}");
        assert!(check(&[promises, test]).is_empty());
        let promises = source("SECURITY.md", "`it_is_so_and_so`");
        assert_eq!(check(&[promises]).len(), 1);
        assert_eq!(check(&[]).len(), 1);
    }
}
