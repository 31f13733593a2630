//! What an attack proposes obeys its threat model; whether it succeeds is judged elsewhere.

use super::table::*;

#[test]
fn what_is_proposed_lies_in_the_ball_and_in_the_pixel_range() {
    let linear = small();
    let mut batch = linear.batch(20, 5);
    // Black and white pixels, where ball and range meet.
    for image in 0..20 {
        batch.images.one_mut(image)[0] = 0.0;
        batch.images.one_mut(image)[1] = 1.0;
    }
    for (norm, epsilon) in
        [(Norm::Linf, "8/255"), (Norm::Linf, "1"), (Norm::L2, "0.5"), (Norm::L2, "3")]
    {
        let threat = threat(norm, epsilon);
        let mut attacks = table(&threat);
        let unlimited = PgdSettings {
            start_range: Range::Unlimited,
            ..settings(&threat, 0, Start::Uniform, 1)
        };
        attacks.push(Box::new(Pgd::new(unlimited.clone()).expect("settings")));
        attacks.push(Box::new(Pgd::new(PgdSettings { steps: 1, ..unlimited }).expect("settings")));
        for attack in attacks {
            let (found, _) = attacked(&linear, attack.as_ref(), &batch, &stream(5));
            assert!(found.images.pixels.iter().all(|p| (0.0..=1.0).contains(p)));
            for image in 0..20 {
                let moved = distance(norm, found.images.one(image), batch.images.one(image));
                assert!(moved <= threat.epsilon().exact() + 1e-6, "{}: {moved}", attack.name());
            }
        }
    }
}
