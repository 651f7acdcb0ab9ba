use std::io::Write as _;

use proptest::prelude::*;

use super::*;

/// Entries at these fractions of the table.
fn at(table: &DistributionTable, fractions: &[f64]) -> Vec<i16> {
    let entries = table.entries();
    fractions.iter().map(|f| entries[(entries.len() as f64 * f) as usize]).collect()
}

fn near(got: i16, want: i16, within: i16) -> bool {
    (i32::from(got) - i32::from(want)).abs() <= i32::from(within)
}

#[test]
fn tables_are_standardised_and_sorted() {
    for (name, table) in [
        ("normal", DistributionTable::normal()),
        ("pareto", DistributionTable::pareto()),
        ("paretonormal", DistributionTable::pareto_normal()),
    ] {
        assert_eq!(table.entries().len(), TABLE_ENTRIES, "{name}");
        assert!(table.mean().abs() < 1e-4, "{name}: mean {}", table.mean());
        assert!((table.deviation() - 1.0).abs() < 1e-4, "{name}: deviation {}", table.deviation());
        assert!(table.entries().is_sorted(), "{name}");
    }
}

#[test]
fn normal_is_that_of_iproute2() {
    // Its table has entries -32768 to 28858, mean -6.4, deviation 8192.4, and these percentiles.
    let published = [-19121, -13488, -5525, 0, 5526, 13473, 19064];
    let table = DistributionTable::normal();
    let ours = at(&table, &[0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]);
    for (got, want) in ours.iter().zip(published) {
        assert!(near(*got, want, 40), "{ours:?} against {published:?}");
    }
    assert_eq!((table.entries()[0], table.entries()[TABLE_ENTRIES - 1]), (-30056, 30056));
}

/// Both tables are the same quantiles, shifted and stretched (iproute2's are not standardised):
/// every percentile must then divide the span between two others in the same proportion.
fn same_shape(ours: &[i16], published: &[i16]) {
    let share =
        |of: &[i16], i: usize| f64::from(of[i] - of[0]) / f64::from(of[of.len() - 1] - of[0]);
    for i in 1..ours.len() - 1 {
        let (got, want) = (share(ours, i), share(published, i));
        assert!((got - want).abs() < 0.005, "{ours:?} against {published:?}: {got} at {i}");
    }
}

const PERCENTILES: [f64; 6] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95];

#[test]
fn pareto_has_the_shape_of_that_of_iproute2() {
    // Its table: -5461 to 32767, mean -274, deviation 6715.
    let published = [-5426, -5274, -4362, -2622, 955, 13255];
    let table = DistributionTable::pareto();
    same_shape(&at(&table, &PERCENTILES), &published);
    assert_eq!(table.entries()[TABLE_ENTRIES - 1], i16::MAX, "the tail is cut");
}

#[test]
fn pareto_normal_has_the_shape_of_that_of_iproute2() {
    // Its table: -12305 to 31789, mean -207, deviation 6832.
    let published = [-8849, -7327, -4652, -1966, 2097, 13309];
    same_shape(&at(&DistributionTable::pareto_normal(), &PERCENTILES), &published);
}

#[test]
fn uniform_is_netem_without_a_table() {
    let table = DistributionTable::uniform();
    assert_eq!(table.entries().first(), Some(&-8190));
    assert_eq!(table.entries().last(), Some(&8190));
    assert!(table.mean().abs() < 1e-3);
    assert!((table.deviation() - 1.0 / 3f64.sqrt()).abs() < 1e-3);
}

#[test]
fn normal_quantiles_are_exact() {
    for (p, z) in
        [(0.5, 0.0), (0.975, 1.959_963_985), (0.001, -3.090_232_306), (0.9, 1.281_551_566)]
    {
        assert!((normal_quantile(p) - z).abs() < 1e-7, "{p}");
    }
}

#[test]
fn samples_and_files() {
    // 90 % at 10 and 10 % at 110: the mean is 20, the deviation 30.
    let mut samples = vec![10.0; 900];
    samples.extend([110.0; 100]);
    let table = DistributionTable::from_samples(&samples).unwrap();
    let ours = at(&table, &[0.0, 0.5, 0.95]);
    assert!(near(ours[0], -2731, 20) && near(ours[1], -2731, 20), "{ours:?}");
    assert!(near(ours[2], 24576, 90), "{ours:?}");

    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# a comment\n -5461 0 # more\n\n99999").unwrap();
    let table = DistributionTable::from_file(file.path()).unwrap();
    assert_eq!(table.entries(), [-5461, 0, i16::MAX]);
    writeln!(file, "12 x").unwrap();
    let error = DistributionTable::from_sample_file(file.path()).unwrap_err().to_string();
    assert!(error.ends_with(":5: \"x\" is no number"), "{error}");
    for (word, shown) in [("NaN", "NaN"), ("1e999", "1e999"), (&"y".repeat(9999), &"y".repeat(40))]
    {
        std::fs::write(file.path(), word).unwrap();
        let error = DistributionTable::from_file(file.path()).unwrap_err().to_string();
        assert!(error.ends_with(&format!(":1: {shown:?} is no number")), "{error}");
    }
    let endless = DistributionTable::from_file(Path::new("/dev/zero")).unwrap_err();
    assert!(endless.to_string().contains("larger than 16 MiB"), "{endless}");
}

#[test]
fn absurd_tables_are_refused() {
    assert!(matches!(DistributionTable::new(vec![]), Err(DistributionError::EntryCount(0))));
    assert!(DistributionTable::new(vec![0; MAX_ENTRIES + 1]).is_err());
    assert!(DistributionTable::from_samples(&[3.0, 3.0, f64::NAN]).is_err());
    assert!(DistributionTable::from_samples(&[]).is_err());
    assert!(serde_json::from_str::<DistributionTable>("[]").is_err());
}

proptest! {
    #[test]
    fn any_samples_give_a_table_or_an_error(
        samples in prop::collection::vec(any::<f64>(), 0..50),
    ) {
        if let Ok(table) = DistributionTable::from_samples(&samples) {
            prop_assert_eq!(table.entries().len(), TABLE_ENTRIES);
        }
    }
}
