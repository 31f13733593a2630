//! The paper's claims, and the table that says where each stands.

use super::findings::{Finding, judge};
use super::page::{figure_text, resolution_text};
use super::record::CellRecord;
use super::written::Study;
use serde::Deserialize;

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// `C1` to `C20`.
    pub id: String,
    /// What it says.
    pub statement: String,
    /// The paper's figure with its tag.
    pub paper: String,
    /// What it would take, for claims that no study tests.
    #[serde(default)]
    pub command: Option<String>,
    /// What a reader must know.
    pub caveats: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    claim: Vec<Claim>,
}

/// Every claim, by number.
pub fn paper_claims() -> Vec<Claim> {
    let text = include_str!("../../../../studies/claims.toml");
    let claims: Claims = toml::from_str(text).expect("the built-in claims are tested");
    claims.claim
}

/// The table of PAPER.md: claims against studies with their records. Markdown.
pub fn table(claims: &[Claim], studies: &[(Study, Vec<CellRecord>)]) -> String {
    let mut text = String::from(
        "| claim | statement | command | our figure | the paper's | verdict | caveats |\n|---|---|---|---|---|---|---|\n",
    );
    let judged: Vec<(&Study, Vec<Finding>)> =
        studies.iter().map(|(study, records)| (study, judge(study, records))).collect();
    for claim in claims {
        let testing: Vec<_> =
            judged.iter().filter(|(s, _)| s.tests.iter().any(|t| t.claim == claim.id)).collect();
        let mut commands: Vec<String> =
            testing.iter().map(|(s, _)| format!("`adamant study {}`", s.name)).collect();
        commands.extend(claim.command.clone());
        let (mut figures, mut verdicts) = (Vec::new(), Vec::new());
        for (study, findings) in &testing {
            for finding in findings.iter().filter(|finding| finding.claim == claim.id) {
                let title = study.regimes.iter().find(|r| r.name == finding.regime);
                let title = title.map_or(finding.regime.as_str(), |regime| &regime.title);
                figures.push(format!(
                    "{}; {title}: {} (resolution {})",
                    finding.what,
                    figure_text(finding),
                    resolution_text(finding)
                ));
                verdicts.push(format!("{title}: **{}**", finding.verdict));
            }
        }
        if figures.is_empty() {
            figures.push("not run yet".to_string());
            verdicts.push("not run yet".to_string());
        }
        let cells = [
            claim.id.clone(),
            claim.statement.clone(),
            commands.join("<br>"),
            figures.join("<br>"),
            claim.paper.clone(),
            verdicts.join("<br>"),
            claim.caveats.clone(),
        ];
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::{SOME, record};
    use super::*;

    #[test]
    fn the_claims_are_numbered_without_a_gap() {
        let ids: Vec<String> = paper_claims().into_iter().map(|claim| claim.id).collect();
        let expected: Vec<String> = (1..=20).map(|number| format!("C{number}")).collect();
        assert_eq!(ids, expected);
    }

    #[test]
    fn a_claim_without_records_says_so_and_one_with_has_its_word() {
        let study = Study::parse(SOME, "some.toml").unwrap();
        let records: Vec<CellRecord> =
            (0..3).flat_map(|s| [record("a", s, 0.4), record("b", s, 0.5)]).collect();
        let text = table(&paper_claims(), &[(study, records)]);
        let line = |id: &str| text.lines().find(|l| l.starts_with(&format!("| {id} |"))).unwrap();
        assert!(line("C1").contains("`adamant study some`"), "{}", line("C1"));
        assert!(line("C1").contains("+10.0 points") && line("C1").contains("**consistent**"));
        assert!(line("C1").contains("3 seeds, n = 10000"));
        assert!(line("C20").contains("not run yet"));
        assert_eq!(text.lines().count(), 22);
    }
}
