//! Tile instructions on a processor without them, for tests: each raises `SIGILL`, and the handler does what it says.
//!
//! The kernels run unchanged, byte for byte, so that a machine without AMX can hold them to their portable reference.
//! It is some thousand times slower than tiles and serves nothing else.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, the instructions by name.

use std::cell::UnsafeCell;
use std::ffi::c_void;

/// Rows of a tile.
const ROWS: usize = 16;
/// Bytes of its rows.
const ROW: usize = 64;

/// One tile.
type Tile = [[u8; ROW]; ROWS];

thread_local! {
    /// A thread's tiles. The handler runs on the thread that met the instruction, and never within itself.
    static TILES: UnsafeCell<[Tile; 8]> = const { UnsafeCell::new([[[0; ROW]; ROWS]; 8]) };
}

/// Does tile instructions from now on, on all threads; what else is illegal ends the process as ever.
pub(super) fn install() {
    // SAFETY: the action is valid, and the handler keeps to what is allowed in one: it allocates nothing and takes no lock.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_illegal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigemptyset(&raw mut action.sa_mask);
        let result = libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut());
        assert_eq!(result, 0, "a handler of SIGILL");
    }
}

extern "C" fn on_illegal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system hands over the context of the thread that met the instruction; a tile instruction names memory that
    // its kernel promised to be there.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let at = registers[libc::REG_RIP as usize] as *const u8;
        match TILES.with(|tiles| step(at, registers, &mut *tiles.get())) {
            Some(length) => registers[libc::REG_RIP as usize] += length as i64,
            // The instruction is met again, and nobody handles it.
            None => _ = libc::signal(libc::SIGILL, libc::SIG_DFL),
        }
    }
}

/// Does the instruction at `at` and tells its length; `None` if it is none of the tiles'.
///
/// # Safety
/// What the instruction reads and writes must be there.
unsafe fn step(at: *const u8, registers: &[i64; 23], tiles: &mut [Tile; 8]) -> Option<usize> {
    // SAFETY: an instruction of the tiles has five bytes or more; by the caller's promise its memory is there.
    unsafe {
        // VEX of three bytes: C4, then R X B and the map, inverted; then W, vvvv, L and the prefix.
        let [first, map, second, opcode, form] = at.cast::<[u8; 5]>().read();
        if first != 0xc4 || map & 0x1f != 2 || second & 0x84 != 0 {
            return None;
        }
        let (prefix, other) = (second & 3, usize::from(!second >> 3 & 15));
        let (register, low) = (usize::from(form >> 3 & 7), usize::from(form & 7));
        let in_registers = form >> 6 == 3;
        match (opcode, prefix, in_registers) {
            // LDTILECFG: the kernels have one configuration, of full tiles.
            (0x49, 0, false) => {
                tiles.fill([[0; ROW]; ROWS]);
                let (address, length) = operand(at, registers)?;
                let configuration = (address.base as *const [u8; 64]).read();
                let full = (0..8).all(|tile| {
                    configuration[16 + 2 * tile..][..2] == [ROW as u8, 0]
                        && configuration[48 + tile] == ROWS as u8
                });
                assert!(full && configuration[0] == 1, "tiles that are not full");
                Some(length)
            }
            // TILERELEASE
            (0x49, 0, true) => Some(5),
            // TILEZERO
            (0x49, 3, true) => {
                tiles[register] = [[0; ROW]; ROWS];
                Some(5)
            }
            // TILELOADD, TILELOADDT1
            (0x4b, 3 | 1, false) => {
                let (address, length) = operand(at, registers)?;
                for (row, to) in tiles[register].iter_mut().enumerate() {
                    *to = (address.row(row) as *const [u8; ROW]).read();
                }
                Some(length)
            }
            // TILESTORED
            (0x4b, 2, false) => {
                let (address, length) = operand(at, registers)?;
                for (row, from) in tiles[register].iter().enumerate() {
                    (address.row(row) as *mut [u8; ROW]).write(*from);
                }
                Some(length)
            }
            // TDPBF16PS
            (0x5c, 2, true) if other < 8 => {
                let sums = product(&tiles[register], &tiles[low], &tiles[other]);
                tiles[register] = sums;
                Some(5)
            }
            _ => None,
        }
    }
}

/// Rows of memory: where the first lies, and how far the next.
struct Rows {
    base: i64,
    between: i64,
}

impl Rows {
    fn row(&self, row: usize) -> i64 {
        self.base + row as i64 * self.between
    }
}

/// The memory operand of the instruction at `at`, and the instruction's length.
///
/// # Safety
/// The instruction must be there, whole.
unsafe fn operand(at: *const u8, registers: &[i64; 23]) -> Option<(Rows, usize)> {
    /// The registers' places in the context, by their numbers in an instruction.
    const ORDER: [i32; 16] = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    // SAFETY: by the caller's promise.
    unsafe {
        let extends = !at.add(1).read();
        let form = at.add(4).read();
        let value = |low: u8, bit: u8| {
            let number = usize::from(low & 7) + if extends & bit == 0 { 0 } else { 8 };
            (number, registers[ORDER[number] as usize])
        };
        let (mut length, mut between) = (5, 0);
        let mut base = if form & 7 == 4 {
            let scaled = at.add(5).read();
            length += 1;
            let (number, index) = value(scaled >> 3, 0x40);
            // Number 4 is no index.
            between = if number == 4 { 0 } else { index << (scaled >> 6) };
            if scaled & 7 == 5 && form >> 6 == 0 {
                return None;
            }
            value(scaled, 0x20).1
        } else {
            // Relative to the instruction.
            if form & 0xc7 == 5 {
                let shift = i64::from(at.add(5).cast::<i32>().read_unaligned());
                return Some((Rows { base: at as i64 + 9 + shift, between }, 9));
            }
            value(form, 0x20).1
        };
        match form >> 6 {
            1 => {
                base += i64::from(at.add(length).cast::<i8>().read());
                length += 1;
            }
            2 => {
                base += i64::from(at.add(length).cast::<i32>().read_unaligned());
                length += 4;
            }
            _ => {}
        }
        Some((Rows { base, between }, length))
    }
}

/// `sums + left * right`: even and odd inputs are summed apart, then added; numbers below the normal range count as zero.
fn product(sums: &Tile, left: &Tile, right: &Tile) -> Tile {
    let mut all = [[0; ROW]; ROWS];
    for ((all, sums), left) in all.iter_mut().zip(sums).zip(left) {
        let mut own = [[0.0_f32; ROW / 4]; 2];
        for (left, right) in left.chunks_exact(4).zip(right) {
            for (parity, own) in own.iter_mut().enumerate() {
                let left = bf16(&left[2 * parity..]);
                for (own, right) in own.iter_mut().zip(right.chunks_exact(4)) {
                    *own = normal(left.mul_add(bf16(&right[2 * parity..]), *own));
                }
            }
        }
        let [even, odd] = own;
        for (at, (even, odd)) in even.into_iter().zip(odd).enumerate() {
            let place = 4 * at..4 * at + 4;
            let before = normal(f32::from_le_bytes(sums[place.clone()].try_into().expect("four")));
            let sum = normal(before + normal(even + odd));
            all[place].copy_from_slice(&sum.to_le_bytes());
        }
    }
    all
}

fn bf16(bytes: &[u8]) -> f32 {
    normal(f32::from_bits(u32::from(u16::from_le_bytes([bytes[0], bytes[1]])) << 16))
}

fn normal(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}
