//! Numbers as readers meet them: percentages, thousands, a few significant digits.

/// A share in percent with one decimal: `84.2 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The two ends of an interval of shares, in percent: `81.8 – 86.3`.
pub fn percent_interval([low, high]: [f64; 2]) -> String {
    format!("{:.1} – {:.1}", 100.0 * low, 100.0 * high)
}

/// A whole number with its thousands set apart: `25,557,032`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits, without trailing zeros: `0.0314`, `12.5`, `1200`, `3.1e-7`.
pub fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_string();
    }
    let size = value.abs();
    if !size.is_finite() || !(1e-4..1e6).contains(&size) {
        return shorter(&format!("{value:.2e}"));
    }
    let decimals = (2 - size.log10().floor() as i32).max(0) as usize;
    trimmed(&format!("{value:.decimals$}"))
}

/// A length of time in two units: `3 h 20 min`, `20 min 5 s`, `5 s`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// Without the zeros that say nothing.
pub(super) fn trimmed(text: &str) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    }
}

fn shorter(text: &str) -> String {
    match text.split_once('e') {
        Some((digits, exponent)) => format!("{}e{exponent}", trimmed(digits)),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let told = [0.0, 0.031_372, 12.5, 1234.0, 3.1e-7, -0.5, 999.96, 2e9].map(significant);
        assert_eq!(told, ["0", "0.0314", "12.5", "1234", "3.1e-7", "-0.5", "1000", "2e9"]);
        assert_eq!(percent(0.8423), "84.2 %");
        assert_eq!(percent_interval([0.818, 0.863]), "81.8 – 86.3");
        assert_eq!([0, 999, 25_557_032].map(thousands), ["0", "999", "25,557,032"]);
    }

    #[test]
    fn durations_have_two_units() {
        let told = [0.4, 59.6, 3599.0, 12_000.0, 200_000.0, -1.0].map(duration);
        assert_eq!(told, ["0 s", "1 min 0 s", "59 min 59 s", "3 h 20 min", "2 d 7 h", "0 s"]);
    }
}
