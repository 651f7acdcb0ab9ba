//! Every use of `unsafe` says why it is sound, where it stands.
//!
//! Clippy sees to blocks of the code it compiles; this looks at every file, the eBPF side and tests
//! included, and is what `cargo xtask unsafe` lists.

use super::Source;

/// A use of `unsafe`, and its reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// `path:line`.
    pub(crate) place: String,
    /// The text of its `// SAFETY:` comment; `None` is against the rules.
    pub(crate) reason: Option<String>,
}

/// How far above its comment may stand: a statement can begin some lines before the block in it.
const ABOVE: usize = 8;

/// Every use of `unsafe`, in the order of the files.
pub(super) fn uses(sources: &[Source]) -> Vec<Use> {
    let rust = |source: &&Source| source.path.extension().is_some_and(|end| end == "rs");
    sources.iter().filter(rust).flat_map(uses_of).collect()
}

fn uses_of(source: &Source) -> Vec<Use> {
    let lines: Vec<&str> = source.text.lines().collect();
    let found = lines.iter().enumerate().filter(|(_, line)| is_unsafe(line));
    found
        .map(|(at, _)| Use {
            place: format!("{}:{}", source.path.display(), at + 1),
            reason: reason(&lines[..at]),
        })
        .collect()
}

/// Whether a line opens an `unsafe` block or says `unsafe impl`; attributes and prose do not count.
fn is_unsafe(line: &str) -> bool {
    let code = line.trim_start();
    if code.starts_with("//") || code.starts_with("#[") || code.starts_with("#![") {
        return false;
    }
    let code = code.split(" //").next().unwrap_or(code);
    ["unsafe {", "unsafe impl"].iter().any(|word| {
        code.match_indices(word).any(|(at, _)| {
            // Not within a string or a longer word.
            let before = &code[..at];
            before.replace("\\\"", "").matches('"').count().is_multiple_of(2)
                && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        })
    })
}

/// The nearest comment above that begins with SAFETY, up to where it ends.
fn reason(above: &[&str]) -> Option<String> {
    let nearest = above.iter().enumerate().rev().take(ABOVE);
    let comment =
        |line: &str| line.trim_start().strip_prefix("//").map(str::trim).map(str::to_owned);
    let begin = nearest
        .take_while(|(_, line)| !line.trim().is_empty())
        .find_map(|(at, line)| comment(line)?.starts_with("SAFETY:").then_some(at))?;
    let text: Vec<String> = above[begin..].iter().map_while(|line| comment(line)).collect();
    let text = text.join(" ");
    let reason = text.strip_prefix("SAFETY:")?.trim();
    (!reason.is_empty()).then(|| reason.to_owned())
}

/// Uses without a reason.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    uses(sources)
        .into_iter()
        .filter(|one| one.reason.is_none())
        .map(|one| format!("{}: `unsafe` without a `// SAFETY:` comment that says why", one.place))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Use> {
        uses(&[Source { path: "a.rs".into(), text: text.into() }])
    }

    #[test]
    fn a_use_is_listed_with_its_reason() {
        let text = "// SAFETY: the pointer is\n// ours.\nlet x = unsafe { *p };\n";
        let reason = Some("the pointer is ours.".to_owned());
        assert_eq!(found(text), [Use { place: "a.rs:3".into(), reason: reason.clone() }]);
        let split = "// SAFETY: the pointer is ours.\nlet x =\n    f(1,\n      unsafe { *p });\n";
        assert_eq!(found(split)[0].reason, reason);
    }

    #[test]
    fn a_use_without_one_breaks_the_rule() {
        for text in [
            "let x = unsafe { *p };\n",
            "// SAFETY:\nlet x = unsafe { *p };\n",
            "// SAFETY: of another\n\nlet x = unsafe { *p };\n",
            "unsafe impl Send for X {}\n",
        ] {
            let source = Source { path: "a.rs".into(), text: text.into() };
            assert_eq!(check(&[source]).len(), 1, "{text}");
        }
    }

    #[test]
    fn words_and_attributes_are_no_uses() {
        for text in [
            "// an unsafe { block }\n",
            "#[unsafe(no_mangle)]\n",
            "#![expect(unsafe_code, reason = \"unsafe { }\")]\n",
            "let text = \"unsafe { }\";\n",
            "fn not_unsafe {}\n",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }
}
