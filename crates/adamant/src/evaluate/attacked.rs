//! One attack on all images the protocol lets it see: proposals, checks, verdicts.

use super::evaluator::{Evaluator, Observer, Protocol, read, stream};
use super::record::ATTACKS;
use super::tally::Tally;
use super::together::Team;
use super::{
    Broken, Distances, EvaluateError, Examples, Ledger, Looks, Outcome, Record, check, judge,
};
use crate::attack::{Attack, Passes};
use crate::image::Batch;
use crate::victim::{perturb_along_in_tiles, perturb_in_tiles};
use engine::Frozen;

/// What an attack works on.
pub(super) struct Context<'a, A, J> {
    /// The network the attack sees.
    pub attacked: &'a A,
    /// The same in single precision, where the attack computes in another.
    pub exact: Option<&'a J>,
    /// The network that is judged.
    pub judged: &'a J,
    /// The images.
    pub examples: &'a dyn Examples,
    /// When the judge looks.
    pub looks: Looks,
    /// Whether distances are told.
    pub distances: Distances,
}

/// An evaluation under way.
pub(super) struct Work<'a, A, J> {
    /// What it works on.
    pub context: Context<'a, A, J>,
    /// What is known.
    pub tally: &'a mut Tally,
    /// Where it is written down.
    pub ledger: &'a mut Ledger,
    /// Who else works at it.
    pub team: Team<'a>,
}

impl<A, J> Work<'_, A, J> {
    /// Adds what was found and writes it down.
    pub fn enter(&mut self, record: Record) -> Result<(), EvaluateError> {
        self.tally.enter(&record)?;
        self.team.remember(&record);
        self.ledger.append(record)
    }

    /// Ends a stage: what any rank has found is known to all, and on the disk.
    pub fn meet(&mut self) -> Result<(), EvaluateError> {
        // Before the others are waited for: they may never come.
        self.ledger.sync()?;
        for record in self.team.meet()? {
            self.tally.enter(&record)?;
            if self.team.keeps_all() {
                self.ledger.append(record)?;
            }
        }
        self.ledger.sync()
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
        let mut pieces = work.team.pieces(ATTACKS + place, open.len(), self.batch_size);
        while let Some(piece) = pieces.take(observer)? {
            let chunk = &open[piece];
            let seconds = observer.seconds();
            let mut passes = Passes::default();
            let Context { attacked, exact, judged, examples, distances, .. } = work.context;
            let outcomes = match (distances, attack.minimal(), exact) {
                (Distances::Told, Some(search), None) => {
                    self.nearest(search, (attacked, judged), examples, chunk, &mut passes)
                }
                (Distances::Told, Some(search), Some(exact)) => {
                    self.nearest(search, (exact, judged), examples, chunk, &mut passes)
                }
                _ => self.attack_chunk(attack, &work.context, chunk, &mut passes),
            }?;
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
        work.meet()
    }

    /// What stands after attacks in another precision is attacked again in single precision: rounding makes an attack
    /// weaker, and what an image stood must not be rounding.
    fn attack_chunk(
        &self,
        attack: &dyn Attack,
        context: &Context<'_, impl Frozen, impl Frozen>,
        chunk: &[usize],
        passes: &mut Passes,
    ) -> Result<Vec<Outcome>, EvaluateError> {
        let batch = read(context.examples, chunk, context.judged.classes())?;
        let mut outcomes: Vec<Outcome> = chunk.iter().map(|&image| Outcome::open(image)).collect();
        let all = (0..chunk.len()).collect();
        self.restarts(attack, (context, context.attacked), &batch, all, &mut outcomes, passes)?;
        let Some(exact) = context.exact else { return Ok(outcomes) };
        let stood = |&position: &usize| outcomes[position].stood();
        let stood: Vec<usize> = (0..chunk.len()).filter(stood).collect();
        for &position in &stood {
            let outcome = &mut outcomes[position];
            // In the paper's protocol the last answer counts.
            let broken = match self.protocol {
                Protocol::WorstCase => outcome.broken,
                Protocol::Paper => None,
            };
            *outcome = Outcome { broken, again: true, ..Outcome::open(outcome.image) };
        }
        self.restarts(attack, (context, exact), &batch, stood, &mut outcomes, passes)?;
        Ok(outcomes)
    }

    /// All restarts of `attack` on `network`, each on those of `standing` where it has not yet had what it wants.
    fn restarts<A: Frozen, N: Frozen, J: Frozen>(
        &self,
        attack: &dyn Attack,
        (context, network): (&Context<'_, A, J>, &N),
        batch: &Batch,
        mut standing: Vec<usize>,
        outcomes: &mut [Outcome],
        passes: &mut Passes,
    ) -> Result<(), EvaluateError> {
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
        for restart in 0..rounds {
            if standing.is_empty() {
                break;
            }
            let some = batch.select(&standing);
            let networks = (network, context.judged);
            let when = (restart, looks_along);
            let mut looks = self.search((&name, search), networks, &some, when, passes)?;
            let end = looks.pop().expect("a search ends");
            for (row, &position) in standing.iter().enumerate() {
                let outcome = &mut outcomes[position];
                end.enter(row, some.labels[row], outcome);
                let letters = looks.iter().map(|judged| judged.letter(row, some.labels[row]));
                outcome.along.extend(letters);
            }
            standing.retain(|&position| !outcomes[position].reached);
        }
        Ok(())
    }

    /// One search over some images: proposed, checked and judged, with the work added to `passes`.
    ///
    /// What is judged is the end of the search, and before it, where that is asked for, each milestone.
    fn search(
        &self,
        (name, search): (&str, &dyn Attack),
        (attacked, judged): (&impl Frozen, &impl Frozen),
        batch: &Batch,
        (restart, looks_along): (u32, bool),
        passes: &mut Passes,
    ) -> Result<Vec<Judged>, EvaluateError> {
        let stream = stream(self.seed, restart);
        let (proposals, spent) = if looks_along {
            perturb_along_in_tiles(attacked, search, batch, &stream)?
        } else {
            let (only, spent) = perturb_in_tiles(attacked, search, batch, &stream)?;
            (vec![only], spent)
        };
        passes.forward += spent.forward;
        passes.backward += spent.backward;
        let mut found = Vec::with_capacity(proposals.len());
        for perturbed in proposals {
            let norms = check::proposal(name, &self.threat, batch, &perturbed)?;
            let predictions = judge(judged, &perturbed.images, batch)?;
            passes.forward += batch.images.count as u64;
            let (targets, restarts) = (perturbed.targets, perturbed.restarts);
            found.push(Judged { predictions, targets, norms, restarts });
        }
        Ok(found)
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
