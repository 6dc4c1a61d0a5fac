//! Kubernetes quantities: `250m`, `1.5`, `512Mi`, `2e3`.

/// What `parse` makes of `1`.
pub const ONE: u128 = 1_000_000_000;

/// The value in thousandths of a millionth, exact for everything that is in use;
/// `None` when the text is no quantity, negative or absurdly large.
pub fn parse(text: &str) -> Option<u128> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || whole.len() > 18 || fraction.len() > 9 {
        return None;
    }
    let digits = |text: &str| match text {
        "" => Some(0),
        text => text.parse::<u128>().ok(),
    };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let value = digits(whole)? * ONE + digits(fraction)? * ONE / scale;
    let power = |base: u128, exponent: u32| base.checked_pow(exponent);
    match suffix {
        "n" => Some(value / ONE),
        "u" => Some(value / 1_000_000),
        "m" => Some(value / 1_000),
        "" => Some(value),
        "k" => value.checked_mul(power(1_000, 1)?),
        "M" => value.checked_mul(power(1_000, 2)?),
        "G" => value.checked_mul(power(1_000, 3)?),
        "T" => value.checked_mul(power(1_000, 4)?),
        "P" => value.checked_mul(power(1_000, 5)?),
        "E" => value.checked_mul(power(1_000, 6)?),
        "Ki" => value.checked_mul(power(1_024, 1)?),
        "Mi" => value.checked_mul(power(1_024, 2)?),
        "Gi" => value.checked_mul(power(1_024, 3)?),
        "Ti" => value.checked_mul(power(1_024, 4)?),
        "Pi" => value.checked_mul(power(1_024, 5)?),
        "Ei" => value.checked_mul(power(1_024, 6)?),
        exponent => {
            let exponent = exponent.strip_prefix(['e', 'E'])?.parse::<u32>().ok()?;
            value.checked_mul(power(10, exponent)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn equal_amounts_are_equal() {
        for (one, other) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1Ki", "1024"),
            ("1.5Gi", "1536Mi"),
            ("2e3", "2k"),
            ("2E3", "2k"),
            ("1E", "1000P"),
        ] {
            assert_eq!(parse(one), parse(other), "{one} and {other}");
            assert!(parse(one).is_some(), "{one}");
        }
    }

    #[test]
    fn more_is_more() {
        assert!(parse("1G") < parse("1Gi"));
        assert!(parse("999m") < parse("1"));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "", ".", "-1", "1 Gi", "Gi", "1gi", "1.2.3", "1e99", "∞", "1Mi ",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
