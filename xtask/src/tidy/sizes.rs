//! How long things may be: lines 100 columns, functions 70 lines, files 700 lines.
//!
//! A reader takes in a function on one screen and a file in one sitting. At both limits splitting
//! starts to pay. What has to be longer is in [`super::exemptions`] with its reason.

use super::{Finding, SourceFile, mask::is_word};

/// The most columns of a line.
pub const LINE_COLUMNS_MAX: usize = 100;
/// The most lines of a function, from `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;
/// The most lines of a file.
pub const FILE_LINES_MAX: usize = 700;

/// Returns every line, function and file that is too long.
#[must_use]
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_source(&file.path)) {
        findings.extend(long_lines(file));
        findings.extend(long_file(file));
        findings.extend(long_functions(file));
    }
    findings
}

fn is_source(path: &str) -> bool {
    [".rs", ".py", ".js"].iter().any(|ending| path.ends_with(ending))
}

fn long_lines(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let columns = line.chars().count();
        // An address cannot be broken, so it may stand alone behind its comment sign.
        let address = line.split_whitespace().nth(1).is_some_and(|word| word.contains("://"));
        if columns > LINE_COLUMNS_MAX && !(address && line.split_whitespace().count() == 2) {
            let message = format!("{columns} columns, at most {LINE_COLUMNS_MAX}: break the line");
            findings.push(Finding::new(&file.path, index + 1, "line-length", message));
        }
    }
    findings
}

fn long_file(file: &SourceFile) -> Option<Finding> {
    let lines = file.text.lines().count();
    let message = format!(
        "{lines} lines, at most {FILE_LINES_MAX}: split the file by what is in it; a table or a \
         test may be exempted in xtask/src/tidy/exemptions.rs with a reason"
    );
    (lines > FILE_LINES_MAX).then(|| Finding::new(&file.path, lines, "file-length", message))
}

fn long_functions(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for function in functions(&file.code) {
        if function.lines > FUNCTION_LINES_MAX {
            let message = format!(
                "`{}` has {} lines, at most {FUNCTION_LINES_MAX}: give a part of it a name",
                function.name, function.lines
            );
            findings.push(Finding::new(&file.path, function.line, "function-length", message));
        }
    }
    findings
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// Returns the functions with a body in masked code, in the order of their `fn`.
fn functions(code: &str) -> Vec<Function> {
    let chars: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    let mut line = 1;
    for at in 0..chars.len() {
        if chars[at] == '\n' {
            line += 1;
        }
        if let Some(name) = function_name(&chars, at)
            && let Some(lines) = lines_of_body(&chars[at..])
        {
            found.push(Function { name, line, lines });
        }
    }
    found
}

/// Returns the name behind a `fn` at `at`; a function pointer type has none.
fn function_name(chars: &[char], at: usize) -> Option<String> {
    let starts = chars[at..].starts_with(&['f', 'n', ' ']);
    let inside_word = at > 0 && is_word(chars[at - 1]);
    let name: String = chars.get(at + 3..)?.iter().take_while(|c| is_word(**c)).collect();
    (starts && !inside_word && !name.is_empty()).then_some(name)
}

/// Counts the lines from the first character to the brace that closes the body; a bare signature
/// has none.
fn lines_of_body(chars: &[char]) -> Option<usize> {
    let (mut parentheses, mut braces, mut lines) = (0_i32, 0_i32, 1);
    for c in chars {
        match c {
            '\n' => lines += 1,
            '(' | '[' => parentheses += 1,
            ')' | ']' => parentheses -= 1,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 && parentheses == 0 {
                    return Some(lines);
                }
            }
            ';' if braces == 0 && parentheses == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{FILE_LINES_MAX, FUNCTION_LINES_MAX, SourceFile, check, functions};

    fn rules(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let findings = check(&[SourceFile::new(path, text)]);
        findings.into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn a_long_line_is_found_and_a_long_address_is_not() {
        let long = "x".repeat(101);
        assert_eq!(rules("a.rs", &format!("//! a\n// {long}")), [(2, "line-length")]);
        assert_eq!(rules("a.py", &long), [(1, "line-length")]);
        assert_eq!(rules("a.rs", &format!("// https://{long}")), []);
        assert_eq!(rules("a.md", &long), []);
        assert_eq!(rules("a.rs", &"ü".repeat(100)), []);
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(rules("a.rs", &"\n".repeat(FILE_LINES_MAX)), []);
        assert_eq!(rules("a.rs", &"\n".repeat(FILE_LINES_MAX + 1)), [(701, "file-length")]);
    }

    #[test]
    fn a_long_function_is_found_whatever_stands_in_its_literals() {
        let body =
            |lines: usize| format!("fn f() {{\n{}}}\n", "    g('}', \"}\");\n".repeat(lines));
        assert_eq!(rules("a.rs", &body(FUNCTION_LINES_MAX - 2)), []);
        assert_eq!(rules("a.rs", &format!("\n{}", body(69))), [(2, "function-length")]);
    }

    #[test]
    fn signatures_and_function_pointers_are_no_functions() {
        let code = "trait T { fn a(&self) -> [u8; 4]; fn b() { let c: fn (u8) = d; } }";
        let names: Vec<_> = functions(code).into_iter().map(|function| function.name).collect();
        assert_eq!(names, ["b"]);
    }
}
