//! Which instructions a kernel may use: found at run time, one binary runs everywhere.

use thiserror::Error;

/// An instruction set; later ones are faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust on any machine; the reference beside every fast path.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with products of bf16 pairs; single precision as [`Isa::Avx512`].
    Avx512Bf16,
    /// Tiles of bf16 (AMX) beside AVX-512 with bf16; single precision as [`Isa::Avx512`].
    Amx,
}

/// Why the instruction set asked for cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IsaError {
    /// The name is none of ours.
    #[error("ADAMANT_ISA is {found:?}\n  hint: write portable, avx2, avx512, avx512-bf16 or amx")]
    Unknown {
        /// What was written.
        found: String,
    },
    /// This processor cannot run it.
    #[error("ADAMANT_ISA is {asked}, but this processor has at most {best}")]
    Unavailable {
        /// What was asked for.
        asked: Isa,
        /// The best that is there.
        best: Isa,
    },
}

impl Isa {
    const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16, Self::Amx];

    /// The best instruction set of this processor, or the one that `ADAMANT_ISA` names.
    ///
    /// Errors: an unknown name, or one that this processor lacks.
    pub fn best() -> Result<Self, IsaError> {
        match std::env::var("ADAMANT_ISA") {
            Ok(name) => Self::parse(&name),
            Err(_) => Ok(Self::detected()),
        }
    }

    /// The best instruction set of this processor.
    pub fn detected() -> Self {
        *Self::available().last().expect("the portable kernels are always available")
    }

    /// All instruction sets this processor has, the slowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The instruction set that computes in single precision: sets that differ only in bf16 share one, to the bit.
    pub fn single(self) -> Self {
        self.min(Self::Avx512)
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => {
                Self::Avx512.is_available() && std::arch::is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Self::Avx512Bf16.is_available() && crate::amx::is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// Whether convolutions are faster in bf16 than in single precision on this processor.
    ///
    /// With tiles (AMX) they are. Products of bf16 pairs alone have half the rate of single multiply-adds on the Xeon measured
    /// and twice their rate on the Zen 4 measured (117 and 234 GFLOP/s a core); other processors of AMD count as it does.
    pub fn is_faster_in_bf16(self) -> bool {
        match self {
            Self::Amx => true,
            Self::Avx512Bf16 => is_amd(),
            _ => false,
        }
    }

    /// The name that `ADAMANT_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Amx => "amx",
        }
    }

    fn parse(name: &str) -> Result<Self, IsaError> {
        let isa = Self::ALL
            .into_iter()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| IsaError::Unknown { found: name.to_string() })?;
        if isa.is_available() {
            Ok(isa)
        } else {
            Err(IsaError::Unavailable { asked: isa, best: Self::detected() })
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for isa in Isa::available() {
            assert_eq!(Isa::parse(isa.name()), Ok(isa));
        }
    }

    #[test]
    fn an_unknown_name_lists_the_valid_ones() {
        let error = Isa::parse("sse9").unwrap_err().to_string();
        assert_eq!(
            error,
            "ADAMANT_ISA is \"sse9\"\n  hint: write portable, avx2, avx512, avx512-bf16 or amx"
        );
    }
}
