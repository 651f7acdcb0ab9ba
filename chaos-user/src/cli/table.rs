//! Plain tables.

use std::fmt::Write as _;

/// Lines with columns padded to their widest cell; the last column is left ragged. Columns whose
/// heading ends in a space are aligned to the right.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].trim_end().chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        // Writing to a String cannot fail.
        let mut text = String::from(" ");
        for (column, cell) in cells.iter().enumerate() {
            let width = widths[column];
            if headings[column].ends_with(' ') {
                let _ = write!(text, " {cell:>width$}");
            } else if column + 1 == headings.len() {
                let _ = write!(text, " {cell}");
            } else {
                let _ = write!(text, " {cell:<width$}");
            }
        }
        text.push('\n');
        text
    };
    let mut text = line(headings.iter().map(|heading| heading.trim_end()).collect());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// The evidence table that every command prints alike.
pub(super) fn evidence(evidence: &[crate::fault::RuleEvidence]) -> String {
    let rows: Vec<_> = evidence
        .iter()
        .map(|rule| {
            vec![
                rule.rule.clone(),
                rule.seen.to_string(),
                rule.matched.to_string(),
                rule.acted.to_string(),
                rule.bytes.to_string(),
            ]
        })
        .collect();
    table(&["rule", "seen ", "matched ", "acted ", "bytes "], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns() {
        let text = table(
            &["name", "n "],
            &[vec!["a".into(), "10".into()], vec!["long".into(), "5".into()]],
        );
        assert_eq!(text, "  name  n\n  a    10\n  long  5\n");
    }
}
