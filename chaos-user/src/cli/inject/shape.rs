//! Options that say how long packets are held.

use std::path::Path;
use std::str::FromStr;

use crate::cli::UsageError;
use crate::experiment::units::{Bytes, Percent, Span, UnitError, nearest};
use crate::kernel::netlink::qdisc::{Distribution, DistributionTable};

/// How long packets are held.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How long")]
pub(super) struct ShapeArgs {
    /// How long each packet is held
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) latency: Option<Span>,
    /// How far delays stray from the latency: half the width of the uniform distribution, the
    /// standard deviation of the others
    #[arg(long, value_name = "TIME", requires = "latency", allow_hyphen_values = true)]
    pub(super) jitter: Option<Span>,
    /// How much each delay resembles the one before
    #[arg(long, value_name = "PERCENT", requires = "jitter", allow_hyphen_values = true)]
    pub(super) correlation: Option<Percent>,
    /// uniform, normal, pareto, pareto-normal, or a file with a table as iproute2 has them
    #[arg(long, value_name = "NAME|FILE", requires = "jitter")]
    pub(super) distribution: Option<DistributionArg>,
}

/// A distribution by name or from a file.
#[derive(Debug, Clone)]
pub(super) struct DistributionArg(pub(super) Distribution);

const NAMES: [(&str, Distribution); 5] = [
    ("uniform", Distribution::Uniform),
    ("normal", Distribution::Normal),
    ("pareto", Distribution::Pareto),
    ("pareto-normal", Distribution::ParetoNormal),
    ("paretonormal", Distribution::ParetoNormal),
];

impl FromStr for DistributionArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, known)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Self(known.clone()));
        }
        if text.contains(['/', '.']) {
            let table =
                DistributionTable::from_file(Path::new(text)).map_err(|error| error.to_string())?;
            return Ok(Self(Distribution::Custom(table)));
        }
        let names = NAMES.iter().map(|(name, _)| *name);
        let hint = nearest(text, names)
            .map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"));
        Err(format!(
            "there is no distribution `{text}`{hint}; there are uniform, normal, pareto and \
             pareto-normal, and files, such as ./{text}"
        ))
    }
}

/// An amount of data, where a number alone means bytes.
pub(super) fn bytes(text: &str) -> Result<Bytes, UnitError> {
    text.parse().map_or_else(|_| text.parse(), |number| Ok(Bytes::new(number)))
}

/// Refuses what would end at once.
pub(super) fn lasting(lasts: Span) -> Result<Span, UsageError> {
    if lasts.nanos() == 0 {
        return Err(UsageError("--for 0s would end before it began".into()));
    }
    Ok(lasts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_alone_means_bytes() {
        assert_eq!(bytes("9000"), Ok(Bytes::new(9000)));
        assert_eq!(bytes("128KiB"), Ok(Bytes::new(131_072)));
        for (text, message) in [("-1", "negative"), ("x", "a size"), ("64M", "64"), ("", "64MiB")] {
            let refused = bytes(text).unwrap_err().to_string();
            assert!(refused.contains(message), "{text}: {refused}");
        }
    }

    #[test]
    fn distributions_by_name_or_from_a_file() {
        let named = |text: &str| text.parse::<DistributionArg>().map(|arg| arg.0);
        assert_eq!(named("pareto"), Ok(Distribution::Pareto));
        assert_eq!(named("paretonormal"), Ok(Distribution::ParetoNormal));
        assert!(named("normla").unwrap_err().contains("(did you mean `normal`?); there are"));
        assert!(named("/no/such/file.dist").unwrap_err().contains("cannot read"));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"# two\n-8192 8192\n").unwrap();
        let table = named(file.path().to_str().unwrap()).unwrap();
        assert_eq!(table.table().entries(), [-8192, 8192]);
    }
}
