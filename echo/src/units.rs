//! Quantities as people write them: `250ms`, `2m`, `64KiB`, and back.
//!
//! A quantity is a whole number and its unit, nothing between, nothing around. A duration always names its unit,
//! so that nobody has to guess whether `30` was seconds; a size without a unit is in bytes. What is out of range is
//! refused here, with the range in the message, so that no later arithmetic can overflow.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The longest duration accepted. Beyond a year it is a slip of the pen, and deadlines stay far from overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The largest buffer accepted: every open connection may come to have one.
const LARGEST: usize = 16 << 20;

/// Reads a duration such as `250ms`, `30s`, `2m` or `1h`; zero is one.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(60 * 60),
        _ => return Err(String::from("not a duration such as 250ms, 30s, 2m or 1h")),
    };
    let Some(number) = number else {
        return Err(String::from("not a duration such as 250ms, 30s, 2m or 1h"));
    };
    u32::try_from(number)
        .ok()
        .and_then(|number| unit.checked_mul(number))
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| String::from("longer than a year"))
}

/// As [`duration`], but zero is refused.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(String::from("must be longer than zero")),
        duration => Ok(duration),
    }
}

/// Reads a whole number.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    match split(text) {
        (Some(number), "") => {
            let there_can_be = usize::try_from(number).ok().filter(|number| *number < usize::MAX);
            there_can_be.ok_or_else(|| String::from("more than there can be"))
        }
        _ => Err(String::from("not a whole number such as 0 or 7")),
    }
}

/// As [`count`], but zero is refused.
pub(crate) fn positive_count(text: &str) -> Result<NonZeroUsize, String> {
    NonZeroUsize::new(count(text)?).ok_or_else(|| String::from("must be 1 or more"))
}

/// Reads a size in bytes such as `4096`, `64KiB` or `1MiB`, from 1 byte to 16 MiB.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return Err(String::from("not a size such as 4096, 64KiB or 1MiB")),
    };
    let Some(number) = number else {
        return Err(String::from("not a size such as 4096, 64KiB or 1MiB"));
    };
    usize::try_from(number)
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|size| (1..=LARGEST).contains(size))
        .ok_or_else(|| String::from("not between 1 byte and 16MiB"))
}

/// The digits in front, as a number, and what follows them. A number too large for the type is larger than every
/// limit here, and is given as the largest there is.
fn split(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number = (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX));
    (number, unit)
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, duration, positive_count, positive_duration};
    use std::time::Duration;

    #[test]
    fn durations() {
        for (text, millis) in [("0s", 0), ("250ms", 250), ("30s", 30_000), ("2m", 120_000), ("1h", 3_600_000), ("8760h", 31_536_000_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "30", "s", "ms", "-1s", "+1s", "1.5s", " 1s", "1 s", "1s ", "1S", "1d", "1m30s", "٣s"] {
            assert!(duration(text).unwrap_err().contains("such as"), "{text:?}");
        }
        for text in ["8761h", "4294967296s", "18446744073709551615h", "99999999999999999999999ms"] {
            assert_eq!(duration(text).unwrap_err(), "longer than a year", "{text:?}");
        }
        assert!(positive_duration("0ms").unwrap_err().contains("zero"));
        assert_eq!(positive_duration("1ms"), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn counts() {
        for (text, number) in [("0", 0), ("7", 7), ("4096", 4096)] {
            assert_eq!(count(text), Ok(number), "{text}");
        }
        for text in ["", "-1", "+1", "1.5", " 1", "1 ", "many", "0x10", "٣"] {
            assert!(count(text).unwrap_err().contains("such as"), "{text:?}");
        }
        assert_eq!(count("99999999999999999999999").unwrap_err(), "more than there can be");
        assert!(positive_count("0").unwrap_err().contains("1 or more"));
        assert_eq!(positive_count("1").unwrap().get(), 1);
    }

    #[test]
    fn sizes() {
        for (text, size) in [("1", 1), ("4096", 4096), ("7B", 7), ("64KiB", 65_536), ("1MiB", 1 << 20), ("16MiB", 16 << 20)] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "KiB", "-1", "+1", "1.5KiB", "1 KiB", "1kB", "1K", "1GiB", "0x10", "４"] {
            assert!(bytes(text).unwrap_err().contains("such as"), "{text:?}");
        }
        for text in ["0", "0KiB", "17MiB", "16777217", "18446744073709551615MiB", "99999999999999999999999"] {
            assert!(bytes(text).unwrap_err().contains("between"), "{text:?}");
        }
    }
}
