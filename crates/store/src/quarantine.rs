//! Names for files that are set aside because they are damaged. The store never reads or removes
//! them again: people decide what to do with them.

use midge_core::Timestamp;

/// The text between a file's own name and the time.
const MARK: &str = ".damaged-";

/// Returns the name of a file that is set aside: `NAME.damaged-20261121T131500Z-REASON`.
pub(crate) fn quarantine_name(name: &str, reason: &str, now: Timestamp) -> String {
    let mut slug: String = reason
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(40)
        .collect();
    while slug.ends_with('-') {
        slug.pop();
    }
    format!("{name}{MARK}{}-{slug}", utc(now))
}

/// Returns the name that a file had before it was set aside; `None` if it was not.
pub(crate) fn original_name(name: &str) -> Option<&str> {
    name.split_once(MARK).map(|(original, _)| original)
}

/// Formats a moment in UTC as `20261121T131500Z`.
fn utc(now: Timestamp) -> String {
    let seconds = now.as_millis() / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a date of the Gregorian calendar, whose year is taken to begin in March (Howard
    // Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use midge_core::Timestamp;

    use super::{original_name, quarantine_name};

    #[test]
    fn the_name_says_when_and_why() {
        let now = Timestamp::from_millis(1_795_266_900_999);
        let name = quarantine_name("journal-0000000000000001", "Damaged header!", now);
        assert_eq!(name, "journal-0000000000000001.damaged-20261121T131500Z-damaged-header");
        assert_eq!(original_name(&name), Some("journal-0000000000000001"));
        assert_eq!(original_name("journal-0000000000000001"), None);
    }

    #[test]
    fn leap_days_have_a_name() {
        let name = |millis| quarantine_name("x", "y", Timestamp::from_millis(millis));
        assert_eq!(name(0), "x.damaged-19700101T000000Z-y");
        assert_eq!(name(1_709_164_800_000), "x.damaged-20240229T000000Z-y");
        assert_eq!(name(951_782_400_000), "x.damaged-20000229T000000Z-y");
    }
}
