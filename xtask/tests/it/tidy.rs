//! The tree as it stands obeys the house rules.

#[test]
fn the_repository_is_tidy() {
    let findings = xtask::tidy::check(&xtask::root()).expect("git and cargo answer");
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}
