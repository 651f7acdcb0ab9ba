//! YAML and JSON, within bounds: a small text must not stand for a large one.

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, alias_limits, options};

/// The most that aliases (`*name`) may add, in pieces of syntax. Nobody writes that many by hand;
/// aliases of aliases multiply to it in a few lines.
const MOST_REPEATED: usize = 10_000;

/// Reads a text.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let limits = alias_limits! { max_total_replayed_events: MOST_REPEATED };
    serde_saphyr::from_str_with_options(text, options! { alias_limits: limits })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn aliases_repeat_but_do_not_multiply_without_bound() {
        let read_value = read::<Value>("a: &a [1, 2]\nb: *a\n").unwrap();
        assert_eq!(read_value["b"], serde_json::json!([1, 2]));
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..8 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            text.push_str(
                &["a", &level.to_string(), ": &a", &level.to_string(), " [", &below, "]\n"]
                    .concat(),
            );
        }
        assert!(read::<Value>(&text).is_err());
    }
}
