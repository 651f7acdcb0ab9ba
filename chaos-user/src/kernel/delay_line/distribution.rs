//! How delays are distributed around the latency.

use std::sync::Arc;

use crate::kernel::netlink::qdisc::DistributionTable;

/// One standard deviation in a table, as netem defines it.
const SCALE: i64 = 8192;

/// Most entries of a table, as netem defines it.
pub const MAX_TABLE_ENTRIES: usize = 16384;

/// The shape of the jitter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Distribution {
    /// Equal probability from one jitter below the latency to one above.
    #[default]
    Uniform,
    /// The inverse of a distribution function, sampled at equal steps and scaled so that 8192 is
    /// one jitter: the form in which netem takes normal, pareto, pareto-normal and custom shapes.
    Table(Arc<[i16]>),
}

impl Distribution {
    /// How far a draw lies from the latency, in ns. `draw` is uniform over the whole of `u32`.
    ///
    /// Unlike netem, which takes the low bits of the draw as the index, the high bits choose: a
    /// correlation of the draws then is one of the delays. Between entries it is interpolated, so
    /// that a table of 4096 entries has no steps.
    pub fn offset(&self, jitter: u64, draw: u32) -> i64 {
        if jitter == 0 {
            return 0;
        }
        let jitter = i64::try_from(jitter).unwrap_or(i64::MAX);
        match self {
            Self::Uniform => scale(jitter, 2 * i64::from(draw) + 1 - (1 << 32), 32),
            Self::Table(table) => {
                // Entry i stands for the quantile (i + 1/2) / n.
                let place = (u64::from(draw) * table.len() as u64).saturating_sub(1 << 31);
                let (index, part) = ((place >> 32) as usize, i64::from(place as u32));
                let Some(&below) = table.get(index) else { return 0 };
                let above = table.get(index + 1).copied().unwrap_or(below);
                let (below, above) = (i64::from(below), i64::from(above));
                let entry = (below << 32) + (above - below) * part;
                scale(jitter, entry, 32 + SCALE.trailing_zeros())
            }
        }
    }

    /// Whether the table can be used.
    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Uniform => true,
            Self::Table(table) => (1..=MAX_TABLE_ENTRIES).contains(&table.len()),
        }
    }
}

/// The shapes that netem takes are the shapes here: both ways of delaying then agree.
impl From<&DistributionTable> for Distribution {
    fn from(table: &DistributionTable) -> Self {
        Self::Table(table.entries().into())
    }
}

/// `value * factor / 2^bits`, rounded down, without overflow on the way.
fn scale(value: i64, factor: i64, bits: u32) -> i64 {
    let product = (i128::from(value) * i128::from(factor)) >> bits;
    product.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
#[path = "distribution_tests.rs"]
mod tests;
