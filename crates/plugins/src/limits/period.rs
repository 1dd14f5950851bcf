//! Windows of time, aligned to the clock and the calendar (UTC), as Kong's are.

use schema::{Found, Map, Value};
use time::{Date, Month, OffsetDateTime};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Year,
}

pub const PERIODS: [Period; 6] =
    [Period::Second, Period::Minute, Period::Hour, Period::Day, Period::Month, Period::Year];

/// One window, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    pub start_ms: i64,
    pub end_ms: i64,
    /// When the one before it began.
    pub before_ms: i64,
}

impl Period {
    pub fn name(self) -> &'static str {
        match self {
            Period::Second => "second",
            Period::Minute => "minute",
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Month => "month",
            Period::Year => "year",
        }
    }

    /// How long it is, or can be, in seconds.
    pub fn longest_s(self) -> i64 {
        match self {
            Period::Second => 1,
            Period::Minute => 60,
            Period::Hour => 3600,
            Period::Day => 86_400,
            Period::Month => 31 * 86_400,
            Period::Year => 366 * 86_400,
        }
    }

    /// The window that a moment lies in.
    pub fn window(self, now_ms: i64) -> Window {
        match self {
            Period::Month | Period::Year => self.calendar_window(now_ms),
            Period::Second | Period::Minute | Period::Hour | Period::Day => {
                let length = self.longest_s() * 1000;
                let start_ms = now_ms - now_ms.rem_euclid(length);
                Window { start_ms, end_ms: start_ms + length, before_ms: start_ms - length }
            }
        }
    }

    fn calendar_window(self, now_ms: i64) -> Window {
        let today = OffsetDateTime::from_unix_timestamp(now_ms.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month) = (today.year(), today.month());
        let (start, before, end) = match self {
            Period::Year => ((year, Month::January), (year - 1, Month::January), (year + 1, Month::January)),
            _ => {
                let before = if month == Month::January { year - 1 } else { year };
                let after = if month == Month::December { year + 1 } else { year };
                ((year, month), (before, month.previous()), (after, month.next()))
            }
        };
        Window { start_ms: first_of(start), end_ms: first_of(end), before_ms: first_of(before) }
    }
}

/// The first moment of a month, in milliseconds since 1970.
fn first_of((year, month): (i32, Month)) -> i64 {
    let day = Date::from_calendar_date(year, month, 1).map(|date| date.midnight().assume_utc());
    day.map_or(0, |moment| moment.unix_timestamp() * 1000)
}

impl Window {
    /// How much of the window before a window of this length that ends now still covers, in millionths.
    pub fn weight_of_the_one_before(&self, now_ms: i64) -> i64 {
        let (left, length) = (self.end_ms - now_ms, self.end_ms - self.start_ms);
        (left.clamp(0, length) * 1_000_000) / length.max(1)
    }

    /// How many milliseconds it takes, where windows slide, until `amount` finds room again if nothing else is used.
    pub fn until_there_is_room(&self, used: u64, before: u64, amount: u64, most: u64, now_ms: i64) -> i64 {
        let (left, length) = ((self.end_ms - now_ms) as f64, (self.end_ms - self.start_ms) as f64);
        let room = most as f64 - amount as f64;
        let wait = match room - used as f64 {
            // As soon as little enough of the one before counts.
            beside if beside >= 0.0 => left - length * beside / before.max(1) as f64,
            // Only in the next one, as soon as little enough of this one counts.
            _ => left + length * (1.0 - room.max(0.0) / used.max(1) as f64),
        };
        wait.clamp(0.0, 2.0 * length).ceil() as i64
    }
}

/// A shorter window may not have the higher limit: it could never be reached.
pub fn in_order(limits: &Map<String, Value>, found: &mut Found) {
    let given: Vec<(&str, f64)> =
        PERIODS.iter().filter_map(|period| Some((period.name(), limits.get(period.name())?.as_f64()?))).collect();
    for pair in given.windows(2) {
        let [(shorter, low), (longer, high)] = pair else { continue };
        if high < low {
            found.entity(format!(
                "The limit for {longer}({high:.1}) cannot be lower than the limit for {shorter}({low:.1})"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-02-29 23:59:59.500 UTC.
    const LEAP: i64 = 1_709_251_199_500;

    #[test]
    fn windows_are_the_clocks_and_the_calendars() {
        for (period, since_start, to_end, before) in [
            (Period::Second, 500, 500, 1000),
            (Period::Minute, 59_500, 500, 60_000),
            (Period::Day, 86_399_500, 500, 86_400_000),
            (Period::Month, 29 * 86_400_000 - 500, 500, 31 * 86_400_000),
            (Period::Year, 60 * 86_400_000 - 500, 306 * 86_400_000 + 500, 365 * 86_400_000_i64),
        ] {
            let window = period.window(LEAP);
            assert_eq!(LEAP - window.start_ms, since_start, "{period:?}");
            assert_eq!(window.end_ms - LEAP, to_end, "{period:?}");
            assert_eq!(window.start_ms - window.before_ms, before, "{period:?}");
        }
    }

    #[test]
    fn room_comes_back_when_it_was_said_to() {
        let window = Period::Minute.window(0);
        for (used, before, now, wait) in [(10, 0, 30_000, 36_000), (0, 10, 0, 6000), (4, 10, 0, 30_000)] {
            let later = now + window.until_there_is_room(used, before, 1, 10, now);
            assert_eq!(later - now, wait);
            let next = Period::Minute.window(later);
            let (used, before) = if next == window { (used, before) } else { (0, used) };
            let share = |now| before as i64 * next.weight_of_the_one_before(now) / 1_000_000;
            assert!(used as i64 + share(later) < 10 && used as i64 + share(later - 1000) >= 9, "{used} {before}");
        }
    }

    #[test]
    fn the_window_before_counts_less_and_less() {
        let window = Period::Minute.window(0);
        for (now, weight) in [(0, 1_000_000), (15_000, 750_000), (59_999, 16), (60_000, 0)] {
            assert_eq!(window.weight_of_the_one_before(now), weight);
        }
    }
}
