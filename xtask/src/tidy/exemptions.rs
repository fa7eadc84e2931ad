//! What may break a size rule, each with its reason. An exemption that nothing needs is a finding.
//!
//! Only rules about size can be exempted: layers, names and determinism have no exceptions.

use super::Finding;

/// A file that may break one rule.
#[derive(Debug)]
pub struct Exemption {
    /// Path from the root of the repository.
    pub path: &'static str,
    /// `line-length`, `function-length` or `file-length`.
    pub rule: &'static str,
    /// Why breaking the rule is better here.
    pub reason: &'static str,
}

/// The whole list. Keep it short: tables of data and generated files belong here, logic does not.
pub const EXEMPTIONS: &[Exemption] = &[];

/// Drops the findings that `exemptions` allow and adds one for each exemption that allows nothing.
#[must_use]
pub fn apply(findings: Vec<Finding>, exemptions: &[Exemption]) -> Vec<Finding> {
    let allows = |exemption: &Exemption, finding: &Finding| {
        exemption.path == finding.path && exemption.rule == finding.rule && is_size(finding.rule)
    };
    let unused = exemptions.iter().filter(|e| !findings.iter().any(|finding| allows(e, finding)));
    let stale: Vec<_> = unused.map(stale_exemption).collect();
    let mut left = findings;
    left.retain(|finding| !exemptions.iter().any(|exemption| allows(exemption, finding)));
    left.extend(stale);
    left
}

fn is_size(rule: &str) -> bool {
    rule.ends_with("-length")
}

fn stale_exemption(exemption: &Exemption) -> Finding {
    let Exemption { path, rule, reason } = exemption;
    let message = format!(
        "{rule} is exempted (\"{reason}\") but nothing needs it: remove the line from \
         xtask/src/tidy/exemptions.rs"
    );
    Finding::new(path, 1, "stale-exemption", message)
}

#[cfg(test)]
mod tests {
    use super::{Exemption, Finding, apply};

    fn exemption(rule: &'static str) -> Exemption {
        Exemption { path: "a.rs", rule, reason: "a table" }
    }

    #[test]
    fn an_exempted_finding_is_dropped_and_others_stay() {
        let findings = vec![
            Finding::new("a.rs", 1, "file-length", ""),
            Finding::new("a.rs", 2, "line-length", ""),
            Finding::new("b.rs", 1, "file-length", ""),
        ];
        let left = apply(findings.clone(), &[exemption("file-length")]);
        assert_eq!(left, findings[1..]);
    }

    #[test]
    fn an_exemption_that_nothing_needs_is_a_finding() {
        let left = apply(Vec::new(), &[exemption("file-length")]);
        assert_eq!(left[0].rule, "stale-exemption");
    }

    #[test]
    fn determinism_cannot_be_exempted() {
        let findings = vec![Finding::new("a.rs", 1, "determinism", "")];
        let left = apply(findings, &[exemption("determinism")]);
        assert!(left.iter().any(|finding| finding.rule == "determinism"));
    }
}
