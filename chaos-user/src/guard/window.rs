//! Hours of the week, and dates.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::experiment::units::nearest;

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];
const MINUTES: u16 = 24 * 60;

/// Some hours of some days of every week, such as `mon-thu 09:00-16:00`, `sat,sun` or
/// `22:00-06:00`. Hours that end before they begin reach into the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From Monday.
    days: [bool; 7],
    /// Minutes of the day.
    from: u16,
    /// The first minute that is outside; at most 24:00.
    to: u16,
}

/// Why a time was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not a day.
    #[error("`{given}` is not a day of the week{}; days are mon, tue, wed, thu, fri, sat, sun", nearest.map_or_else(String::new, |day| format!("; did you mean `{day}`?")))]
    Day {
        /// What was given.
        given: String,
        /// The most similar day.
        nearest: Option<&'static str>,
    },
    /// Not hours.
    #[error("`{given}` is not a range of hours such as `09:00-17:30`, from 00:00 to 24:00")]
    Hours {
        /// What was given.
        given: String,
    },
    /// Not a window.
    #[error("`{given}` is not a window; write days, hours or both, such as `mon-thu 09:00-16:00`")]
    Shape {
        /// What was given.
        given: String,
    },
    /// Not a date.
    #[error("`{given}` is not a date such as `2026-12-24` or `2026-12-24T18:00`")]
    Date {
        /// What was given.
        given: String,
    },
    /// The end is not after the beginning.
    #[error("`{given}` ends before it begins")]
    Backwards {
        /// What was given.
        given: String,
    },
}

impl Window {
    /// Whether a moment is inside.
    pub fn contains(&self, moment: &Zoned) -> bool {
        let day = moment.weekday().to_monday_zero_offset() as usize % 7;
        let minute = u16::from(moment.hour().unsigned_abs()) * 60
            + u16::from(moment.minute().unsigned_abs());
        let Self { days, from, to } = *self;
        if from < to {
            return days[day] && (from..to).contains(&minute);
        }
        let yesterday = (day + 6) % 7;
        (days[day] && minute >= from) || (days[yesterday] && minute < to)
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let shape = || WindowError::Shape { given: text.to_owned() };
        let (days, hours) = match words.as_slice() {
            [hours] if hours.contains(':') => ([true; 7], *hours),
            [days_only] => (days(days_only)?, "00:00-24:00"),
            [days_first, hours] => (days(days_first)?, *hours),
            _ => return Err(shape()),
        };
        let wrong = || WindowError::Hours { given: hours.to_owned() };
        let (from, to) = hours.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (minute(from).ok_or_else(wrong)?, minute(to).ok_or_else(wrong)?);
        if from == to || from == MINUTES {
            return Err(wrong());
        }
        Ok(Self { days, from, to })
    }
}

fn days(text: &str) -> Result<[bool; 7], WindowError> {
    let day = |given: &str| {
        let lower = given.to_ascii_lowercase();
        DAYS.iter().position(|(name, _)| *name == lower).ok_or_else(|| WindowError::Day {
            given: given.to_owned(),
            nearest: nearest(&lower, DAYS.iter().map(|(name, _)| *name)),
        })
    };
    let mut chosen = [false; 7];
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        let mut at = first;
        chosen[at] = true;
        while at != last {
            at = (at + 1) % 7;
            chosen[at] = true;
        }
    }
    Ok(chosen)
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |part: &str| {
        (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| part.parse::<u16>().ok())
            .flatten()
    };
    let (hour, minute) = (digits(hour)?, digits(minute)?);
    let of_day = hour * 60 + minute;
    (minute < 60 && of_day <= MINUTES).then_some(of_day)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { days, from, to } = self;
        if *days != [true; 7] {
            let names: Vec<&str> =
                DAYS.iter().zip(days).filter(|(_, on)| **on).map(|((name, _), _)| *name).collect();
            write!(f, "{} ", names.join(","))?;
        }
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// When nothing may be done: a weekly [`Window`], a date, or `FROM..TO` of two dates (whole days, the
/// last one included) or two dates with times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blackout {
    /// Every week.
    Weekly(Window),
    /// Once: from, and the first moment after.
    Once(DateTime, DateTime),
}

impl Blackout {
    /// Whether any part of the time between two moments, both included, is inside.
    pub fn touches(&self, from: Timestamp, to: Timestamp, zone: &TimeZone) -> bool {
        match self {
            Self::Weekly(window) => minutes(from, to, zone).any(|moment| window.contains(&moment)),
            Self::Once(first, last) => {
                let at = |civil: &DateTime| civil.to_zoned(zone.clone()).map(|z| z.timestamp());
                match (at(first), at(last)) {
                    (Ok(first), Ok(last)) => from < last && to >= first,
                    // At the far ends of the calendar; nothing may be done is the safe answer.
                    _ => true,
                }
            }
        }
    }
}

impl FromStr for Blackout {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let text = text.trim();
        if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.contains('-') {
            return text.parse().map(Self::Weekly);
        }
        let year = text.split('-').next().unwrap_or_default();
        if year.contains(':') {
            return text.parse().map(Self::Weekly);
        }
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = (edge(first, false)?, edge(last, true)?);
        if last <= first {
            return Err(WindowError::Backwards { given: text.to_owned() });
        }
        Ok(Self::Once(first, last))
    }
}

/// A date is its beginning, or as an end the beginning of the next day.
fn edge(text: &str, end: bool) -> Result<DateTime, WindowError> {
    let wrong = || WindowError::Date { given: text.trim().to_owned() };
    let text = text.trim();
    if text.contains('T') {
        return text.parse().map_err(|_| wrong());
    }
    let date: Date = text.parse().map_err(|_| wrong())?;
    let date = if end { date.tomorrow().map_err(|_| wrong())? } else { date };
    Ok(date.to_datetime(jiff::civil::Time::midnight()))
}

impl fmt::Display for Blackout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weekly(window) => window.fmt(f),
            Self::Once(first, last) => write!(f, "{first} until {last}"),
        }
    }
}

/// Whether all the time between two moments, both included, lies in some of the windows.
pub(super) fn covered(windows: &[Window], from: Timestamp, to: Timestamp, zone: &TimeZone) -> bool {
    minutes(from, to, zone).all(|moment| windows.iter().any(|window| window.contains(&moment)))
}

/// Windows are cut at whole minutes and repeat every week.
fn minutes(from: Timestamp, to: Timestamp, zone: &TimeZone) -> impl Iterator<Item = Zoned> + '_ {
    const WEEK: i64 = 7 * MINUTES as i64;
    let first = from.as_second().div_euclid(60);
    let last = to.as_second().div_euclid(60).min(first.saturating_add(WEEK));
    (first..=last.max(first)).filter_map(|minute| {
        let moment = Timestamp::from_second(minute.checked_mul(60)?).ok()?;
        Some(moment.to_zoned(zone.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse::<Zoned>().unwrap().timestamp()
    }

    fn inside(window: &str, moment: &str) -> bool {
        window.parse::<Window>().unwrap().contains(&moment.parse().unwrap())
    }

    #[test]
    fn windows_know_days_and_hours() {
        // 2026-11-27 is a Friday.
        for (window, moment, expected) in [
            ("mon-fri 09:00-17:00", "2026-11-27T09:00[UTC]", true),
            ("mon-fri 09:00-17:00", "2026-11-27T17:00[UTC]", false),
            ("mon-thu 09:00-17:00", "2026-11-27T12:00[UTC]", false),
            ("sat,sun", "2026-11-28T23:59[UTC]", true),
            ("fri-mon", "2026-11-29T00:00[UTC]", true),
            ("22:00-06:00", "2026-11-27T23:00[UTC]", true),
            ("22:00-06:00", "2026-11-27T05:59[UTC]", true),
            ("22:00-06:00", "2026-11-27T06:00[UTC]", false),
            ("thu 22:00-06:00", "2026-11-27T05:00[UTC]", true),
            ("fri 22:00-06:00", "2026-11-27T05:00[UTC]", false),
            ("fri 18:00-24:00", "2026-11-27T23:59[UTC]", true),
        ] {
            assert_eq!(inside(window, moment), expected, "{window} at {moment}");
        }
        let shown: Window = "Mon-Wed,fri 9:00-10:00".replace("9:00", "09:00").parse().unwrap();
        assert_eq!(shown.to_string(), "mon,tue,wed,fri 09:00-10:00");
    }

    #[test]
    fn zones_and_their_summer_time_count() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let office: Window = "09:00-17:00".parse().unwrap();
        // UTC+1 in winter, UTC+2 in summer.
        for (from, to, expected) in [
            ("2026-01-15T08:00[UTC]", "2026-01-15T15:59[UTC]", true),
            ("2026-01-15T07:59[UTC]", "2026-01-15T08:30[UTC]", false),
            ("2026-07-15T07:00[UTC]", "2026-07-15T14:59[UTC]", true),
            ("2026-07-15T14:30[UTC]", "2026-07-15T15:00[UTC]", false),
        ] {
            assert_eq!(covered(&[office], at(from), at(to), &zone), expected, "{from} to {to}");
        }
        // Two windows that meet cover what crosses from one to the other.
        let halves: Vec<Window> =
            ["00:00-12:00", "12:00-24:00"].iter().map(|text| text.parse().unwrap()).collect();
        assert!(covered(&halves, at("2026-03-28T11:00[UTC]"), at("2026-03-30T12:00[UTC]"), &zone));
    }

    #[test]
    fn blackouts_are_weekly_or_once() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let touches = |blackout: &str, from: &str, to: &str| {
            blackout.parse::<Blackout>().unwrap().touches(at(from), at(to), &zone)
        };
        // Midnight in New York is 05:00 UTC in winter.
        let last = "2027-01-03";
        let range = format!("2026-12-24..{last}");
        assert!(!touches(&range, "2026-12-24T04:00[UTC]", "2026-12-24T04:59[UTC]"));
        assert!(touches(&range, "2026-12-24T04:00[UTC]", "2026-12-24T05:00[UTC]"));
        assert!(touches(&range, "2027-01-04T04:59[UTC]", "2027-01-04T06:00[UTC]"));
        assert!(!touches(&range, "2027-01-04T05:00[UTC]", "2027-01-04T06:00[UTC]"));
        assert!(touches("2026-12-24", "2026-12-24T12:00[UTC]", "2026-12-24T12:00[UTC]"));
        let hours = "2026-12-24T10:00..2026-12-24T11:00";
        assert!(touches(hours, "2026-12-24T15:30[UTC]", "2026-12-24T15:31[UTC]"));
        assert!(!touches(hours, "2026-12-24T16:00[UTC]", "2026-12-24T16:31[UTC]"));
        assert!(touches("fri 12:00-24:00", "2026-11-27T16:59[UTC]", "2026-11-27T17:00[UTC]"));
        assert!(touches("22:00-06:00", "2026-11-28T04:00[UTC]", "2026-11-28T04:00[UTC]"));
    }

    #[test]
    fn mistakes_are_told() {
        let window = |text: &str| text.parse::<Window>().unwrap_err().to_string();
        insta::assert_snapshot!(window("mo-fri 09:00-17:00"), @"`mo` is not a day of the week; did you mean `mon`?; days are mon, tue, wed, thu, fri, sat, sun");
        insta::assert_snapshot!(window("mon 9-17"), @"`9-17` is not a range of hours such as `09:00-17:30`, from 00:00 to 24:00");
        insta::assert_snapshot!(window("mon 09:00-24:01"), @"`09:00-24:01` is not a range of hours such as `09:00-17:30`, from 00:00 to 24:00");
        insta::assert_snapshot!(window("mon 09:00 - 17:00"), @"`mon 09:00 - 17:00` is not a window; write days, hours or both, such as `mon-thu 09:00-16:00`");
        let blackout = |text: &str| text.parse::<Blackout>().unwrap_err().to_string();
        insta::assert_snapshot!(blackout("2026-13-01"), @"`2026-13-01` is not a date such as `2026-12-24` or `2026-12-24T18:00`");
        insta::assert_snapshot!(blackout("2026-12-24..2026-12-20"), @"`2026-12-24..2026-12-20` ends before it begins");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9a-z:., T-]{0,40}") {
            let _ = text.parse::<Window>();
            let _ = text.parse::<Blackout>();
        }
    }
}
