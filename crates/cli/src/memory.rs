//! Amounts of memory as users write and read them.

use anyhow::{Context, bail};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// Units by the letters after a number; GB is 1000^3, GiB and plain G are 1024^3.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
];

impl std::str::FromStr for Bytes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let expected = "expected an amount of memory such as 8GiB or 6000MiB";
        let number: f64 = number.trim().parse().with_context(|| format!("{text:?}: {expected}"))?;
        let unit = unit.to_ascii_lowercase();
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            bail!("{text:?}: {expected}");
        };
        let bytes = number * *factor as f64;
        // Nobody means a few kilobytes: a bare 8 was to be 8GiB.
        if !bytes.is_finite() || bytes < f64::from(1 << 20) {
            bail!("{text:?} is below 1 MiB; {expected}");
        }
        Ok(Self(bytes as u64))
    }
}

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mebibytes = self.0 as f64 / f64::from(1 << 20);
        match mebibytes {
            small if small < 1024.0 => write!(f, "{small:.1} MiB"),
            large => write!(f, "{:.2} GiB", large / 1024.0),
        }
    }
}

/// What this process has in memory now; 0 where the system does not tell.
pub fn resident() -> Bytes {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    Bytes(kibibytes.unwrap_or(0) << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_usually_written() {
        for (text, bytes) in [
            ("8GiB", 8 << 30),
            ("8 gib", 8 << 30),
            ("1.5G", 3 << 29),
            ("6000MiB", 6000 << 20),
            ("2GB", 2_000_000_000),
            ("2097152", 2 << 20),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(bytes), "{text}");
        }
        for text in ["8", "-8GiB", "GiB", "8GiBs", "infGiB", ""] {
            let message = text.parse::<Bytes>().unwrap_err().to_string();
            assert!(message.contains("such as 8GiB"), "{text}: {message}");
        }
    }

    #[test]
    fn amounts_are_shown_in_mebibytes_or_gibibytes() {
        assert_eq!(Bytes(3 << 19).to_string(), "1.5 MiB");
        assert_eq!(Bytes(8 << 30).to_string(), "8.00 GiB");
    }
}
