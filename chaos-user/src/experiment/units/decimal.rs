//! Exact decimal numbers: a quantity that is written exactly is held exactly.

/// An unsigned decimal number, `digits / 10^places`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    digits: u128,
    places: u32,
}

/// Why a decimal number does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecimalError {
    /// Not of the form `12`, `1.5` or `.5`.
    Malformed,
    /// More digits than any quantity here needs.
    TooLarge,
    /// Not a whole number of steps.
    TooFine,
}

impl Decimal {
    /// Reads `12`, `12.5` or `.5`: digits and at most one point, no sign, no exponent.
    pub(super) fn parse(text: &str) -> Result<Self, DecimalError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if fraction.is_empty() || text.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(DecimalError::Malformed);
        }
        let fraction = fraction.trim_end_matches('0');
        let whole = whole.trim_start_matches('0');
        if whole.len() > 20 {
            return Err(DecimalError::TooLarge);
        }
        if fraction.len() > 18 {
            return Err(DecimalError::TooFine);
        }
        let digits = format!("{whole}{fraction}");
        let digits = if digits.is_empty() { "0" } else { &digits };
        Ok(Self {
            digits: digits.parse().map_err(|_| DecimalError::TooLarge)?,
            places: fraction.len() as u32,
        })
    }

    /// The number times `unit`, when that is a whole number that fits 64 bits.
    pub(super) fn times(self, unit: u64) -> Result<u64, DecimalError> {
        let scaled = self.digits.checked_mul(u128::from(unit)).ok_or(DecimalError::TooLarge)?;
        let divisor = 10_u128.pow(self.places);
        if scaled % divisor != 0 {
            return Err(DecimalError::TooFine);
        }
        u64::try_from(scaled / divisor).map_err(|_| DecimalError::TooLarge)
    }

    pub(super) fn is_whole(self) -> bool {
        self.places == 0
    }
}

/// Writes `value / unit` with as many decimals as it needs; `unit` is a power of ten.
pub(super) fn write(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let fraction = format!("{rest:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// Splits `1.5ms` into its number and its unit; the number may be empty.
pub(super) fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let times = |text, unit| Decimal::parse(text).and_then(|d| d.times(unit));
        assert_eq!(times("0.1", 1_000_000_000), Ok(100_000_000));
        assert_eq!(times(".5", 1000), Ok(500));
        assert_eq!(times("007.50", 10), Ok(75));
        assert_eq!(times("18446744073709551615", 1), Ok(u64::MAX));
        assert_eq!(times("18446744073709551616", 1), Err(DecimalError::TooLarge));
        assert_eq!(times("0.3", 2), Err(DecimalError::TooFine));
        for malformed in ["", ".", "1.", "1..2", "1e3", "+1", "1_000", "1,5"] {
            assert_eq!(Decimal::parse(malformed), Err(DecimalError::Malformed), "{malformed}");
        }
    }

    #[test]
    fn writing_trims_zeros() {
        assert_eq!(write(1_500, 1_000), "1.5");
        assert_eq!(write(1_005, 1_000), "1.005");
        assert_eq!(write(2_000, 1_000), "2");
        assert_eq!(write(7, 1), "7");
    }
}
