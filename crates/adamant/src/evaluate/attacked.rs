//! One attack on all images the protocol lets it see: proposals, checks, verdicts.

use super::evaluator::{Evaluator, Observer, Protocol, read, stream};
use super::tally::Tally;
use super::{Broken, EvaluateError, Examples, Ledger, Looks, Outcome, Record, check, judge};
use crate::attack::{Attack, Passes};
use crate::image::Batch;
use crate::victim::{perturb_along_in_tiles, perturb_in_tiles};
use engine::Frozen;

/// What an attack works on.
pub(super) struct Context<'a, A, J> {
    /// The network the attack sees.
    pub attacked: &'a A,
    /// The network that is judged.
    pub judged: &'a J,
    /// The images.
    pub examples: &'a dyn Examples,
    /// When the judge looks.
    pub looks: Looks,
}

/// An evaluation under way.
pub(super) struct Work<'a, A, J> {
    /// What it works on.
    pub context: Context<'a, A, J>,
    /// What is known.
    pub tally: &'a mut Tally,
    /// Where it is written down.
    pub ledger: &'a mut Ledger,
}

impl<A, J> Work<'_, A, J> {
    /// Adds what was found and writes it down.
    pub fn enter(&mut self, record: Record) -> Result<(), EvaluateError> {
        self.tally.enter(&record)?;
        self.ledger.append(record)
    }
}

/// What the judge says of the images of one search.
struct Judged {
    predictions: Vec<u32>,
    targets: Option<Vec<u32>>,
    norms: Vec<f64>,
    restarts: Vec<u32>,
}

impl Evaluator {
    /// Takes `attack`, the `place`th, through the images it has not seen yet.
    ///
    /// In the worst case restarts are judged one by one, each on the images where the attack has not yet had what it
    /// wants: what counts is what the judge says, not what the attacked network said. In the paper's protocol the
    /// attack's own choice counts.
    pub(super) fn under(
        &self,
        place: usize,
        attack: &dyn Attack,
        work: &mut Work<'_, impl Frozen, impl Frozen>,
        observer: &mut dyn Observer,
    ) -> Result<(), EvaluateError> {
        let done = &work.tally.attacks[place].outcomes;
        let mut open = work.tally.open_to(place);
        open.retain(|position| !done.contains_key(position));
        observer.begin(&attack.name(), open.len());
        for chunk in open.chunks(self.batch_size) {
            let seconds = observer.seconds();
            let mut passes = Passes::default();
            let outcomes = self.attack_chunk(attack, &work.context, chunk, &mut passes)?;
            let right = outcomes.iter().filter(|outcome| outcome.broken.is_none()).count();
            work.enter(Record::Attack {
                attack: place,
                outcomes,
                forward: passes.forward,
                backward: passes.backward,
                seconds: observer.seconds() - seconds,
            })?;
            observer.judged(chunk.len(), right);
        }
        work.ledger.sync()
    }

    fn attack_chunk(
        &self,
        attack: &dyn Attack,
        context: &Context<'_, impl Frozen, impl Frozen>,
        chunk: &[usize],
        passes: &mut Passes,
    ) -> Result<Vec<Outcome>, EvaluateError> {
        let name = attack.name();
        let restarts = match self.protocol {
            Protocol::WorstCase => attack.restarts(),
            Protocol::Paper => None,
        };
        let (search, rounds) = match &restarts {
            Some(restarts) => (&*restarts.single, restarts.count),
            None => (attack, 1),
        };
        let looks_along = context.looks == Looks::Along && !attack.milestones().is_empty();
        let batch = read(context.examples, chunk, context.judged.classes())?;
        let unbroken =
            |&image: &usize| Outcome { image, broken: None, reached: false, along: String::new() };
        let mut outcomes: Vec<Outcome> = chunk.iter().map(unbroken).collect();
        let mut standing: Vec<usize> = (0..chunk.len()).collect();
        for restart in 0..rounds {
            if standing.is_empty() {
                break;
            }
            let some = batch.select(&standing);
            let mut looks =
                self.search((&name, search), context, &some, (restart, looks_along), passes)?;
            let end = looks.pop().expect("a search ends");
            for (row, &position) in standing.iter().enumerate() {
                let outcome = &mut outcomes[position];
                end.enter(row, some.labels[row], outcome);
                let letters = looks.iter().map(|judged| judged.letter(row, some.labels[row]));
                outcome.along.extend(letters);
            }
            standing.retain(|&position| !outcomes[position].reached);
        }
        Ok(outcomes)
    }

    /// One search over some images: proposed, checked and judged, with the work added to `passes`.
    ///
    /// What is judged is the end of the search, and before it, where that is asked for, each milestone.
    fn search(
        &self,
        (name, search): (&str, &dyn Attack),
        context: &Context<'_, impl Frozen, impl Frozen>,
        batch: &Batch,
        (restart, looks_along): (u32, bool),
        passes: &mut Passes,
    ) -> Result<Vec<Judged>, EvaluateError> {
        let stream = stream(self.seed, restart);
        let (proposals, spent) = if looks_along {
            perturb_along_in_tiles(context.attacked, search, batch, &stream)?
        } else {
            let (only, spent) = perturb_in_tiles(context.attacked, search, batch, &stream)?;
            (vec![only], spent)
        };
        passes.forward += spent.forward;
        passes.backward += spent.backward;
        let mut judged = Vec::with_capacity(proposals.len());
        for perturbed in proposals {
            let norms = check::proposal(name, &self.threat, batch, &perturbed)?;
            let predictions = judge(context.judged, &perturbed.images, batch)?;
            passes.forward += batch.images.count as u64;
            let (targets, restarts) = (perturbed.targets, perturbed.restarts);
            judged.push(Judged { predictions, targets, norms, restarts });
        }
        Ok(judged)
    }
}

impl Judged {
    /// Enters the judge's word on image `row` into its outcome.
    fn enter(&self, row: usize, label: u32, outcome: &mut Outcome) {
        let prediction = self.predictions[row];
        if prediction != label && outcome.broken.is_none() {
            let (norm, restart) = (self.norms[row], self.restarts[row]);
            outcome.broken = Some(Broken { prediction, norm, restart });
        }
        outcome.reached |= self.is_reached(row, label);
    }

    /// Untargeted: the judge is wrong; targeted: it says the target.
    fn is_reached(&self, row: usize, label: u32) -> bool {
        match &self.targets {
            Some(targets) => self.predictions[row] == targets[row],
            None => self.predictions[row] != label,
        }
    }

    fn letter(&self, row: usize, label: u32) -> char {
        match (self.predictions[row] == label, self.is_reached(row, label)) {
            (true, _) => 'r',
            (false, true) => 't',
            (false, false) => 'w',
        }
    }
}
