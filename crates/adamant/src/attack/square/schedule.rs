//! How large the windows of Square are, by the queries made so far.

/// Share of the pixels in the first windows. Source: Andriushchenko et al. 2020, "Square Attack", appendix B, and AutoAttack.
pub const FIRST_SHARE: f64 = 0.8;

/// After so many queries the share is halved once more. Source: as [`FIRST_SHARE`]; AutoAttack does not rescale them.
const HALVINGS: [usize; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];

/// The share of the pixels in the window of a query, counted from 0.
pub fn share(query: usize) -> f64 {
    let halvings = HALVINGS.iter().filter(|&&after| query > after).count();
    FIRST_SHARE / f64::from(1 << halvings)
}

/// The side of the window of a query, on images of `height` times `width` pixels.
pub fn side(query: usize, height: usize, width: usize) -> usize {
    let side = (share(query) * (height * width) as f64).sqrt().round() as usize;
    side.max(1).min(height.min(width))
}

/// The same where a window has a centre: odd, and at least 3 if the image is.
pub fn odd_side(query: usize, height: usize, width: usize) -> usize {
    let side = (share(query) * (height * width) as f64).sqrt().round() as usize;
    let side = side.max(3);
    (side + usize::from(side.is_multiple_of(2))).min(height.min(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g18_the_share_halves_after_the_queries_of_the_paper() {
        let expected = [
            (0, 1),
            (10, 1),
            (11, 2),
            (50, 2),
            (51, 4),
            (200, 4),
            (201, 8),
            (500, 8),
            (501, 16),
            (1000, 16),
            (1001, 32),
            (2000, 32),
            (2001, 64),
            (4000, 64),
            (4001, 128),
            (4999, 128),
            (6001, 256),
            (8001, 512),
            (100_000, 512),
        ];
        for (query, divisor) in expected {
            assert_eq!(share(query), 0.8 / f64::from(divisor), "query {query}");
        }
        // sqrt(.8 * 1024) = 28.6, sqrt(.00625 * 1024) = 2.5.
        assert_eq!((side(0, 32, 32), side(4500, 32, 32)), (29, 3));
        assert_eq!(
            (odd_side(0, 32, 32), odd_side(11, 32, 32), odd_side(9000, 32, 32)),
            (29, 21, 3)
        );
        assert_eq!((side(0, 1, 1), odd_side(0, 2, 2)), (1, 2));
    }
}
