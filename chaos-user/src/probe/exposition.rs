//! The text format of Prometheus, as far as samples go.

use std::collections::BTreeMap;

/// One sample of one series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// The samples of a metric, in the order of the page. Lines that are no samples are passed over.
pub(super) fn samples(page: &str, metric: &str) -> Vec<Sample> {
    page.lines().filter_map(|line| sample(line.trim(), metric)).collect()
}

fn sample(line: &str, metric: &str) -> Option<Sample> {
    let rest = line.strip_prefix(metric)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        // The name may be the beginning of a longer one.
        None if rest.starts_with([' ', '\t']) => (BTreeMap::new(), rest),
        None => return None,
    };
    // A timestamp may follow.
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { labels, value })
}

/// What stands between the braces, and what follows.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once('=')?;
        let mut value = String::new();
        let mut characters = after.trim_start().strip_prefix('"')?.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => value.push(match characters.next()? {
                    'n' => '\n',
                    other => other,
                }),
                other => value.push(other),
            }
        }
        labels.insert(name.trim().to_owned(), value);
        rest = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn samples_read_as_prometheus_reads_them() {
        let page = "# HELP up Whether it is up\n# TYPE up gauge\nup 1\nup_total 7\n\
                    hits{path=\"/a,b}\", code=\"200\",} 1.5e3 1700000000\n\
                    hits{path=\"q\\\"\\\\\\n\"} +Inf\nhits NaN\nhits{path=\"broken\n";
        assert_eq!(samples(page, "up"), [Sample { labels: BTreeMap::new(), value: 1.0 }]);
        let hits = samples(page, "hits");
        assert_eq!(hits.len(), 3, "{hits:?}");
        assert_eq!((hits[0].labels["path"].as_str(), hits[0].value), ("/a,b}", 1500.0));
        assert_eq!(hits[0].labels["code"], "200");
        assert_eq!(hits[1].labels["path"], "q\"\\\n");
        assert!(hits[1].value.is_infinite() && hits[2].value.is_nan());
    }

    proptest! {
        #[test]
        fn no_page_makes_it_panic(page in "\\PC*|(m[{}=\",\\\\ 0-9a]{0,40}\n)*") {
            samples(&page, "m");
        }
    }
}
