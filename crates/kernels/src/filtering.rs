//! The matrices of minimal filtering along one axis: Winograd's F(4, 3) and F(2, 3).
//!
//! Source: Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4: `y = A' [(G g) * (B' d)]`. Six (four)
//! inputs and three taps give four (two) results with six (four) products. [`crate::convolution`] filters both axes in single
//! precision, [`crate::half`] in bf16.
//!
//! For F(4, 3) the six numbers are a polynomial's values at 0, a, -a, b, -b and its leading coefficient. The points decide the
//! rounding error. In units of the results' root mean square, with 256 channels and 4x4 results in single precision: 1.5e-6 with
//! 5/8 and 3/2, 2.0e-6 with 1/2 and 3/2, 3.3e-6 with 1/2 and 1, 3.4e-6 with the textbook's 1 and 2; the plain sum's is 7.8e-7,
//! that of 2x2 results 4.9e-7.

use crate::vector::Vector;

/// Taps along the axis.
pub(crate) const TAPS: usize = 3;

/// The first pair of points.
const A: f32 = 0.625;
/// The second.
const B: f32 = 1.5;

/// `B'` of F(4, 3) times inputs: the rows are the products of (x - q) over the other points q, and over all of them.
///
/// # Safety
/// The processor must have `V`'s instructions.
#[inline(always)]
pub(crate) unsafe fn inputs_of_four<V: Vector>(d: [V; 6]) -> [V; 6] {
    // SAFETY: by the caller's promise; the constants are readable.
    unsafe {
        let constant = |value: &f32| V::splat(value);
        let (squares, product) = (constant(&-(A * A + B * B)), constant(&(A * A * B * B)));
        let even_a = d[4].multiply_add(d[2], constant(&-(B * B)));
        let odd_a = d[3].multiply_add(d[1], constant(&-(B * B)));
        let even_b = d[4].multiply_add(d[2], constant(&-(A * A)));
        let odd_b = d[3].multiply_add(d[1], constant(&-(A * A)));
        [
            d[4].multiply_add(d[2], squares).multiply_add(d[0], product),
            even_a.multiply_add(odd_a, constant(&A)),
            even_a.multiply_add(odd_a, constant(&-A)),
            even_b.multiply_add(odd_b, constant(&B)),
            even_b.multiply_add(odd_b, constant(&-B)),
            d[5].multiply_add(d[3], squares).multiply_add(d[1], product),
        ]
    }
}

/// `A'` of F(4, 3) times products: row `i` holds the points' `i`-th powers.
///
/// # Safety
/// As [`inputs_of_four`].
#[inline(always)]
pub(crate) unsafe fn results_of_four<V: Vector>(m: [V; 6]) -> [V; 4] {
    // SAFETY: by the caller's promise; the constants are readable.
    unsafe {
        let constant = |value: &f32| V::splat(value);
        let (sum_a, difference_a) = (m[1].add(m[2]), m[1].subtract(m[2]));
        let (sum_b, difference_b) = (m[3].add(m[4]), m[3].subtract(m[4]));
        let none = V::zero();
        [
            m[0].add(sum_a).add(sum_b),
            none.multiply_add(difference_a, constant(&A)).multiply_add(difference_b, constant(&B)),
            none.multiply_add(sum_a, constant(&(A * A))).multiply_add(sum_b, constant(&(B * B))),
            m[5].multiply_add(difference_a, constant(&(A * A * A)))
                .multiply_add(difference_b, constant(&(B * B * B))),
        ]
    }
}

/// `G` of F(4, 3): the taps' polynomial at the points, over the product of each one's distances to the others; and its
/// leading coefficient.
#[inline(always)]
pub(crate) fn weights_of_four([a, b, c]: [f32; TAPS]) -> [f32; 6] {
    let [square_a, square_b] = [A * A, B * B];
    let over = [
        1.0 / (square_a * square_b),
        0.5 / (square_a * (square_a - square_b)),
        0.5 / (square_b * (square_b - square_a)),
    ];
    let (even_a, odd_a) = (a + square_a * c, A * b);
    let (even_b, odd_b) = (a + square_b * c, B * b);
    [
        over[0] * a,
        over[1] * (even_a + odd_a),
        over[1] * (even_a - odd_a),
        over[2] * (even_b + odd_b),
        over[2] * (even_b - odd_b),
        c,
    ]
}

/// `G` of F(2, 3) is (1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1).
#[inline(always)]
pub(crate) fn weights_of_two([a, b, c]: [f32; TAPS]) -> [f32; 4] {
    let outer = a + c;
    [a, 0.5 * (outer + b), 0.5 * (outer - b), c]
}
