//! What stands an attack in low precision is attacked again in single precision: no image stands by rounding.

use crate::masked::{Mask, Masked};
use crate::support::engine;
use crate::trained::{adversarial, evaluator, frozen, subject, test_images};
use adamant::evaluate::audit::Networks;
use adamant::evaluate::{
    Conduct, EvaluateError, Evaluation, Evaluator, Looks, Protocol, Samples, Silent,
};
use engine::Precision;
use engine::cpu::CpuFrozen;

fn standing(evaluation: &Evaluation) -> Vec<u64> {
    let verdicts = evaluation.verdict_list.iter();
    verdicts.filter(|verdict| verdict.broken_by.is_none()).map(|verdict| verdict.index).collect()
}

/// An attacked network whose gradient leads nowhere stands for a precision that is far too low.
fn judged(evaluator: &Evaluator, mask: Mask, looks: Looks) -> Result<Evaluation, EvaluateError> {
    let low = Masked::new(frozen(adversarial()), mask);
    let exact = frozen(adversarial());
    let surrogate = None::<&CpuFrozen>;
    let reference = (evaluator.precision != Precision::F32).then_some(&exact);
    let networks = Networks { attacked: &low, judged: &exact, reference, surrogate };
    let conduct = Conduct { looks, ..Conduct::default() };
    evaluator.conduct_frozen(&networks, subject(), test_images(), &mut Silent, conduct)
}

fn few(attacks: &[&str], precision: Precision, protocol: Protocol) -> Evaluator {
    Evaluator { precision, protocol, samples: Samples::Some(50), ..evaluator(attacks) }
}

#[test]
fn an_image_stands_only_if_the_exact_attack_leaves_it() {
    let attacks = ["fgsm", "pgd-5-2", "targeted-pgd-5"];
    let exact = few(&attacks, Precision::F32, Protocol::WorstCase);
    let low = few(&attacks, Precision::Bf16, Protocol::WorstCase);
    let honest = judged(&exact, Mask::None, Looks::End).unwrap();
    let fooled = judged(&exact, Mask::OtherGradient, Looks::End).unwrap();
    let again = judged(&low, Mask::OtherGradient, Looks::End).unwrap();
    let honest_ones = standing(&honest);
    assert!(standing(&again).iter().all(|index| honest_ones.contains(index)));
    assert!(standing(&fooled).len() > honest_ones.len() + 5, "what is to be mended is there");
    for (again, honest) in again.attacks.iter().zip(&honest.attacks) {
        assert!(again.robust_accuracy <= honest.robust_accuracy);
        assert_eq!(honest.attacked_again, None);
        let stood = (again.robust_accuracy * 50.0).round() as usize;
        assert!(again.attacked_again.unwrap() >= stood && again.attacked >= stood);
    }
}

#[test]
fn in_the_papers_protocol_every_right_answer_on_the_way_is_that_of_the_exact_attack() {
    let exact = few(&["targeted-pgd-30"], Precision::F32, Protocol::Paper);
    let low = few(&["targeted-pgd-30"], Precision::Bf16, Protocol::Paper);
    let honest = judged(&exact, Mask::None, Looks::Along).unwrap();
    let again = judged(&low, Mask::OtherGradient, Looks::Along).unwrap();
    let accuracies = |evaluation: &Evaluation| -> Vec<f64> {
        let attack = &evaluation.attacks[0];
        let on_the_way = attack.along.iter().map(|look| look.robust_accuracy);
        on_the_way.chain([attack.robust_accuracy]).collect()
    };
    assert_eq!(accuracies(&honest).len(), 3);
    assert!(accuracies(&again).iter().zip(accuracies(&honest)).all(|(low, exact)| *low <= exact));
}

#[test]
fn half_precision_leaves_no_image_that_single_precision_breaks() {
    let run = |precision| {
        let evaluator = few(&["pgd-10"], precision, Protocol::WorstCase);
        let (images, conduct) = (test_images(), Conduct::default());
        evaluator.conduct(&engine(), adversarial(), subject(), images, &mut Silent, conduct)
    };
    let (exact, half) = (run(Precision::F32).unwrap(), run(Precision::Bf16).unwrap());
    let exact = standing(&exact);
    assert!(standing(&half).iter().all(|index| exact.contains(index)));
}

#[test]
fn low_precision_without_the_exact_network_is_refused() {
    let evaluator = few(&["fgsm"], Precision::Bf16, Protocol::WorstCase);
    let exact = frozen(adversarial());
    let error = evaluator.run(&exact, &exact, subject(), test_images(), &mut Silent).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("bf16") && message.contains("hint:"), "{message}");
}
