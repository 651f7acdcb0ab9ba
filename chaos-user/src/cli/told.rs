//! Errors, as people read them.

/// An error and its causes, each said once: many errors name their cause in their own text.
pub(super) fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open the device: {0}")]
    struct Names(#[source] std::io::Error);

    #[test]
    fn a_cause_is_told_once() {
        let cause = || std::io::Error::other("it is gone");
        let error = anyhow::Error::from(Names(cause()));
        assert_eq!(told(&error), "open the device: it is gone");
        assert_eq!(told(&error.context("start")), "start: open the device: it is gone");
        let silent = Err::<(), _>(cause()).context("read the file").unwrap_err();
        assert_eq!(told(&silent), "read the file: it is gone");
    }
}
