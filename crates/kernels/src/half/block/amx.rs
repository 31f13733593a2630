//! The same sums in tile registers: 0 to 3 hold the sums, 4 and 5 the pixels, 6 and 7 the weights.

use super::{Block, Extent, Fetch, Sums};
use crate::half::TILE;
use crate::half::epilogue::fast::Writer;
use crate::half::epilogue::{Pending, with_kind};
use crate::half::pack::PANEL;
use std::arch::asm;

/// Steps from which on rows of the block before are written between the multiplications; fewer hide too little.
pub(super) const HIDING: usize = 9;

/// Two tiles by two panels, and between the multiplications the rows of `pending`.
///
/// A tile multiplication takes 16 cycles and the next waits only for its operands, while the order of retirement would let
/// a run of a few hundred vector instructions behind the stores of the sums hold the multiplications back. A few rows
/// after each step are hidden instead; and stores between steps spare the wait of some hundred cycles that a store of a
/// tile costs here after many steps without one.
///
/// # Safety
/// As [`super::run`] and [`Pending::write`].
pub(super) unsafe fn run_while(block: &Block<'_>, sums: &mut Sums, pending: &Pending<'_>) {
    // SAFETY: by the caller's promise; a processor with AMX has AVX-512 with bf16.
    unsafe { with_kind!(pending, both, block, sums) }
}

/// # Safety
/// As [`run_while`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn both<const ADD: bool, const MODE: u8>(
    pending: &Pending<'_>,
    block: &Block<'_>,
    sums: &mut Sums,
) {
    let Some(mut writer) = Writer::<ADD, MODE>::new(pending) else {
        // SAFETY: by the caller's promise.
        return unsafe {
            run(block, Extent::TwoByTwo, sums);
            crate::half::epilogue::fast::write::<ADD, MODE>(pending);
        };
    };
    let each = (pending.tiles * TILE).div_ceil(block.steps.len().max(1));
    // SAFETY: by the caller's promise everything read is there; `Sums` is four tiles of 1 KiB; the compiler uses no tile
    // registers.
    unsafe {
        asm!(
            "tileloadd tmm0, [{bias} + {zero}]",
            "tileloadd tmm1, [{bias} + {zero} + 64]",
            "tileloadd tmm2, [{bias} + {zero}]",
            "tileloadd tmm3, [{bias} + {zero} + 64]",
            bias = in(reg) block.bias,
            zero = in(reg) 0_usize,
            options(nostack, readonly),
        );
        let mut fetch = block.fetch;
        for step in block.steps {
            let shift = step.input as isize;
            asm!(
                "tileloadd tmm4, [{left} + {pitch}]",
                "tileloadd tmm6, [{w} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{w} + {line} + 1024]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{right} + {pitch}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                left = in(reg) block.tiles[0].wrapping_byte_offset(shift),
                right = in(reg) block.tiles[1].wrapping_byte_offset(shift),
                w = in(reg) block.weights.wrapping_add(2 * PANEL * step.weights as usize),
                pitch = in(reg) block.pitch,
                line = in(reg) 64_usize,
                options(nostack, readonly),
            );
            fetch.iter_mut().for_each(Fetch::step);
            writer.write(each);
        }
        asm!(
            "tilestored [{out} + {line}], tmm0",
            "tilestored [{out} + {line} + 1024], tmm1",
            "tilestored [{out} + {line} + 2048], tmm2",
            "tilestored [{out} + {line} + 3072], tmm3",
            line = in(reg) 64_usize,
            out = in(reg) sums.0.as_mut_ptr(),
            options(nostack),
        );
        writer.write(2 * TILE);
    }
}

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
            "dec {n}",
            "jnz 2b",
            "3:",
            $($end,)*
            x = out(reg) _,
            w = out(reg) _,
            y = out(reg) _,
            n = inout(reg) $block.steps.len() => _,
            steps = inout(reg) $block.steps.as_ptr() => _,
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
    // SAFETY: by the caller's promise everything read is there; `Sums` is four tiles of 1 KiB.
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
