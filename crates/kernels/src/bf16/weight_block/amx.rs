//! The same sums in tile registers: 0 to 3 hold the sums, 4 and 5 the gradients, 6 and 7 the inputs.
//!
//! Three columns are the taps of a kernel row: their inputs are the same lines but for the first and last. Then 0 to 5
//! hold sums and the inputs are loaded for each panel again, from the nearest cache: what comes from the second is half of
//! what two by two take, and that is what limits them.

use super::{Block, Extent};
use std::arch::asm;

/// Emits one extent: which sums are loaded, what a step does, which sums are stored.
macro_rules! block {
    ($block:ident, [$($begin:literal),*], [$($step:literal),*], [$($end:literal),*]) => {
        asm!(
            $($begin,)*
            "2:",
            "mov {g:e}, dword ptr [{steps}]",
            "mov {x:e}, dword ptr [{steps} + 4]",
            $($step,)*
            "add {steps}, 8",
            "cmp {steps}, {end}",
            "jne 2b",
            $($end,)*
            g = out(reg) _,
            x = out(reg) _,
            y = out(reg) _,
            steps = inout(reg) $block.steps.as_ptr() => _,
            end = in(reg) $block.steps.as_ptr_range().end,
            left = in(reg) $block.gradients[0],
            first = in(reg) $block.inputs[0],
            second = in(reg) $block.inputs[1],
            // With one panel as with one column the second's distance is zero.
            right = in(reg) $block.gradients[1] as usize - $block.gradients[0] as usize,
            s00 = in(reg) $block.sums[0][0],
            panel = in(reg) $block.sums[1][0] as usize - $block.sums[0][0] as usize,
            column = in(reg) $block.sums[0][1] as usize - $block.sums[0][0] as usize,
            line = in(reg) 64_usize,
            options(nostack),
        )
    };
}

/// # Safety
/// As [`super::run`]; the second panel's gradients and sums lie behind the first's, the second column's sums too.
pub(super) unsafe fn run(block: &Block<'_>, extent: Extent) {
    if block.steps.is_empty() {
        return;
    }
    // SAFETY: by the caller's promise everything read and written is there.
    unsafe {
        match (extent.panels, extent.columns) {
            (panels, 3) => three(block, panels),
            (2, 2) => block!(
                block,
                [
                    "tileloadd tmm0, [{s00} + {line}]",
                    "lea {y}, [{s00} + {column}]",
                    "tileloadd tmm1, [{y} + {line}]",
                    "lea {y}, [{s00} + {panel}]",
                    "tileloadd tmm2, [{y} + {line}]",
                    "add {y}, {column}",
                    "tileloadd tmm3, [{y} + {line}]"
                ],
                [
                    "lea {y}, [{first} + {x}]",
                    "add {x}, {second}",
                    "add {g}, {left}",
                    "tileloadd tmm4, [{g} + {line}]",
                    "tileloadd tmm6, [{y} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{x} + {line}]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "add {g}, {right}",
                    "tileloadd tmm5, [{g} + {line}]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7"
                ],
                [
                    "tilestored [{s00} + {line}], tmm0",
                    "lea {y}, [{s00} + {column}]",
                    "tilestored [{y} + {line}], tmm1",
                    "lea {y}, [{s00} + {panel}]",
                    "tilestored [{y} + {line}], tmm2",
                    "add {y}, {column}",
                    "tilestored [{y} + {line}], tmm3"
                ]
            ),
            (2, 1) => block!(
                block,
                [
                    "tileloadd tmm0, [{s00} + {line}]",
                    "lea {y}, [{s00} + {panel}]",
                    "tileloadd tmm2, [{y} + {line}]"
                ],
                [
                    "lea {y}, [{first} + {x}]",
                    "mov {x}, {second}",
                    "add {g}, {left}",
                    "tileloadd tmm4, [{g} + {line}]",
                    "tileloadd tmm6, [{y} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "add {g}, {right}",
                    "tileloadd tmm5, [{g} + {line}]",
                    "tdpbf16ps tmm2, tmm5, tmm6"
                ],
                [
                    "tilestored [{s00} + {line}], tmm0",
                    "lea {y}, [{s00} + {panel}]",
                    "tilestored [{y} + {line}], tmm2",
                    "mov {y}, {column}"
                ]
            ),
            (1, 2) => block!(
                block,
                [
                    "tileloadd tmm0, [{s00} + {line}]",
                    "lea {y}, [{s00} + {column}]",
                    "tileloadd tmm1, [{y} + {line}]"
                ],
                [
                    "lea {y}, [{first} + {x}]",
                    "add {x}, {second}",
                    "add {g}, {left}",
                    "tileloadd tmm4, [{g} + {line}]",
                    "tileloadd tmm6, [{y} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{x} + {line}]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "mov {g}, {right}"
                ],
                [
                    "tilestored [{s00} + {line}], tmm0",
                    "lea {y}, [{s00} + {column}]",
                    "tilestored [{y} + {line}], tmm1",
                    "mov {y}, {panel}"
                ]
            ),
            _ => block!(
                block,
                ["tileloadd tmm0, [{s00} + {line}]"],
                [
                    "lea {y}, [{first} + {x}]",
                    "mov {x}, {second}",
                    "add {g}, {left}",
                    "tileloadd tmm4, [{g} + {line}]",
                    "tileloadd tmm6, [{y} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "mov {g}, {right}"
                ],
                ["tilestored [{s00} + {line}], tmm0", "mov {y}, {panel}", "mov {y}, {column}"]
            ),
        }
    }
}

/// One or two panels by three columns.
///
/// # Safety
/// As [`run`].
unsafe fn three(block: &Block<'_>, panels: usize) {
    let between = block.inputs[1] as usize - block.inputs[0] as usize;
    debug_assert_eq!(block.inputs[2] as usize - block.inputs[1] as usize, between);
    macro_rules! three {
        ([$($begin:literal),*], [$($step:literal),*], [$($end:literal),*]) => {
            asm!(
                "tileloadd tmm0, [{s00} + {line}]",
                "lea {y}, [{s00} + {column}]",
                "tileloadd tmm1, [{y} + {line}]",
                "add {y}, {column}",
                "tileloadd tmm2, [{y} + {line}]",
                $($begin,)*
                "2:",
                "mov {g:e}, dword ptr [{steps}]",
                "mov {x:e}, dword ptr [{steps} + 4]",
                "add {g}, {left}",
                "add {x}, {first}",
                "tileloadd tmm6, [{g} + {line}]",
                "tileloadd tmm7, [{x} + {line}]",
                "tdpbf16ps tmm0, tmm6, tmm7",
                "lea {y}, [{x} + {between}]",
                "tileloadd tmm7, [{y} + {line}]",
                "tdpbf16ps tmm1, tmm6, tmm7",
                "add {y}, {between}",
                "tileloadd tmm7, [{y} + {line}]",
                "tdpbf16ps tmm2, tmm6, tmm7",
                $($step,)*
                "add {steps}, 8",
                "cmp {steps}, {end}",
                "jne 2b",
                "tilestored [{s00} + {line}], tmm0",
                "lea {y}, [{s00} + {column}]",
                "tilestored [{y} + {line}], tmm1",
                "add {y}, {column}",
                "tilestored [{y} + {line}], tmm2",
                $($end,)*
                g = out(reg) _,
                x = out(reg) _,
                y = out(reg) _,
                steps = inout(reg) block.steps.as_ptr() => _,
                end = in(reg) block.steps.as_ptr_range().end,
                left = in(reg) block.gradients[0],
                right = in(reg) block.gradients[1] as usize - block.gradients[0] as usize,
                first = in(reg) block.inputs[0],
                between = in(reg) between,
                s00 = in(reg) block.sums[0][0],
                panel = in(reg) block.sums[1][0] as usize - block.sums[0][0] as usize,
                column = in(reg) block.sums[0][1] as usize - block.sums[0][0] as usize,
                line = in(reg) 64_usize,
                options(nostack),
            )
        };
    }
    // SAFETY: by the caller's promise everything read and written is there.
    unsafe {
        match panels {
            2 => three!(
                [
                    "lea {y}, [{s00} + {panel}]",
                    "tileloadd tmm3, [{y} + {line}]",
                    "add {y}, {column}",
                    "tileloadd tmm4, [{y} + {line}]",
                    "add {y}, {column}",
                    "tileloadd tmm5, [{y} + {line}]"
                ],
                [
                    "add {g}, {right}",
                    "tileloadd tmm6, [{g} + {line}]",
                    "tdpbf16ps tmm5, tmm6, tmm7",
                    "tileloadd tmm7, [{x} + {line}]",
                    "tdpbf16ps tmm3, tmm6, tmm7",
                    "add {x}, {between}",
                    "tileloadd tmm7, [{x} + {line}]",
                    "tdpbf16ps tmm4, tmm6, tmm7"
                ],
                [
                    "lea {y}, [{s00} + {panel}]",
                    "tilestored [{y} + {line}], tmm3",
                    "add {y}, {column}",
                    "tilestored [{y} + {line}], tmm4",
                    "add {y}, {column}",
                    "tilestored [{y} + {line}], tmm5"
                ]
            ),
            // The second panel is the first: its distances are zero and not used.
            _ => three!(["lea {y}, [{s00} + {panel}]"], ["lea {y}, [{g} + {right}]"], []),
        }
    }
}
