//! Time stamps of records: RFC 3339 in UTC with nine digits, always 30 bytes long.

/// Bytes of a stamp.
pub(super) const LENGTH: usize = 30;

/// Writes the time so many seconds and nanoseconds after 1970. Done by hand because the driver
/// does it for every chunk and must stay small.
pub(super) fn write(seconds: i64, nanoseconds: u32) -> [u8; LENGTH] {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], second / 3600);
    put(&mut text[14..16], second / 60 % 60);
    put(&mut text[17..19], second % 60);
    put(&mut text[20..29], i64::from(nanoseconds));
    text
}

fn put(place: &mut [u8], mut value: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day so many days after 1970-01-01, in the Gregorian calendar. Counted in eras of
/// 400 years that begin in March, so that leap days come last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_calendar() {
        for seconds in [0, 951_782_400, 951_868_799, 1_709_164_800, 4_102_444_799, 1_795_478_400] {
            let text = write(seconds, 7);
            let time: jiff::Timestamp = std::str::from_utf8(&text).unwrap().parse().unwrap();
            assert_eq!((time.as_second(), time.subsec_nanosecond()), (seconds, 7));
        }
    }
}
