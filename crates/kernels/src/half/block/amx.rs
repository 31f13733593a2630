//! The same sums in tile registers: 0 to 3 hold the sums, 4 and 5 the pixels, 6 and 7 the weights.

use super::{Block, Extent, Sums};
use crate::half::pack::PANEL;
use std::arch::asm;

/// Emits one extent: how the sums begin, what a step does, how the sums are stored.
macro_rules! block {
    ($block:ident, $sums:ident, $panels:literal, [$($begin:literal),*], [$($step:literal),*], [$($end:literal),*]) => {
        asm!(
            "xor {x:e}, {x:e}",
            $($begin,)*
            "test {n}, {n}",
            "jz 3f",
            "2:",
            "mov {w:e}, dword ptr [{steps} + 4]",
            "movsxd {x}, dword ptr [{steps}]",
            concat!("shl {w}, ", $panels),
            "add {w}, {weights}",
            $($step,)*
            "add {steps}, 8",
            "prefetcht1 [{next}]",
            "add {next}, 64",
            "dec {n}",
            "jnz 2b",
            "3:",
            $($end,)*
            x = out(reg) _,
            w = out(reg) _,
            y = out(reg) _,
            n = inout(reg) $block.steps.len() => _,
            steps = inout(reg) $block.steps.as_ptr() => _,
            next = inout(reg) $block.next => _,
            weights = in(reg) $block.weights,
            left = in(reg) $block.tiles[0],
            right = in(reg) $block.tiles[1],
            pitch = in(reg) $block.pitch,
            bias = in(reg) $block.bias,
            line = in(reg) 64_usize,
            out = in(reg) $sums.0.as_mut_ptr(),
            options(nostack),
        )
    };
}

/// # Safety
/// As [`super::run`].
pub(super) unsafe fn run(block: &Block<'_>, extent: Extent, sums: &mut Sums) {
    const { assert!(PANEL * 2 == 1 << 10) };
    // SAFETY: by the caller's promise everything read is there; `Sums` is four tiles of 1 KiB. A prefetch never faults.
    unsafe {
        match extent {
            Extent::TwoByTwo => block!(
                block,
                sums,
                11,
                [
                    "tileloadd tmm0, [{bias} + {x}]",
                    "tileloadd tmm1, [{bias} + {x} + 64]",
                    "tileloadd tmm2, [{bias} + {x}]",
                    "tileloadd tmm3, [{bias} + {x} + 64]"
                ],
                [
                    "lea {y}, [{left} + {x}]",
                    "add {x}, {right}",
                    "tileloadd tmm4, [{y} + {pitch}]",
                    "tileloadd tmm6, [{w} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{w} + {line} + 1024]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{x} + {pitch}]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7"
                ],
                [
                    "tilestored [{out} + {line}], tmm0",
                    "tilestored [{out} + {line} + 1024], tmm1",
                    "tilestored [{out} + {line} + 2048], tmm2",
                    "tilestored [{out} + {line} + 3072], tmm3"
                ]
            ),
            Extent::OneByTwo => block!(
                block,
                sums,
                11,
                ["tileloadd tmm0, [{bias} + {x}]", "tileloadd tmm1, [{bias} + {x} + 64]"],
                [
                    "lea {y}, [{left} + {x}]",
                    "mov {x}, {right}",
                    "tileloadd tmm4, [{y} + {pitch}]",
                    "tileloadd tmm6, [{w} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{w} + {line} + 1024]",
                    "tdpbf16ps tmm1, tmm4, tmm7"
                ],
                ["tilestored [{out} + {line}], tmm0", "tilestored [{out} + {line} + 1024], tmm1"]
            ),
            Extent::TwoByOne => block!(
                block,
                sums,
                10,
                ["tileloadd tmm0, [{bias} + {x}]", "tileloadd tmm2, [{bias} + {x}]"],
                [
                    "lea {y}, [{left} + {x}]",
                    "add {x}, {right}",
                    "tileloadd tmm4, [{y} + {pitch}]",
                    "tileloadd tmm6, [{w} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{x} + {pitch}]",
                    "tdpbf16ps tmm2, tmm5, tmm6"
                ],
                ["tilestored [{out} + {line}], tmm0", "tilestored [{out} + {line} + 2048], tmm2"]
            ),
            Extent::OneByOne => block!(
                block,
                sums,
                10,
                ["tileloadd tmm0, [{bias} + {x}]"],
                [
                    "lea {y}, [{left} + {x}]",
                    "mov {x}, {right}",
                    "tileloadd tmm4, [{y} + {pitch}]",
                    "tileloadd tmm6, [{w} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6"
                ],
                ["tilestored [{out} + {line}], tmm0"]
            ),
        }
    }
}
