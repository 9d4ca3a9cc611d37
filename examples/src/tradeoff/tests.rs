use std::sync::atomic::AtomicU64;

use scale_privacy::plan::Verdict;

use super::*;

/// Few weights, so that a thousand devices are quick.
const SMALL: Shape = Shape { classes: 4, features: 8, examples: 20, tests: 400, spread: 1.0, alpha: 0.5 };

fn settings(devices: u32, epsilon: f64, rounds: u32, shape: Shape) -> Settings {
    Settings { devices: vec![devices], epsilons: vec![epsilon], delta: 1e-6, rounds, seeds: 1, shape }
}

#[test]
fn a_thousand_devices_afford_epsilon_8() {
    let report = run(&settings(1000, 8.0, 6, SMALL), &|_| ()).unwrap();
    let group = &report.groups[0];
    let (plain, cell) = (group.plain.mean(), group.series(Trust::Distributed).next().unwrap());
    assert!(plain > 0.8, "the task can be learned: {plain}");
    assert_eq!(cell.plan.verdict, Verdict::Useful, "{}", cell.plan.sentence);
    assert!((plain - cell.accuracy.mean()).abs() < 0.05, "{plain} without noise, {} with it", cell.accuracy.mean());
    assert!(cell.plan.epsilon_aggregate <= 8.0);
}

/// The experiment's own task. A random model of ten classes is right more or less often than one time in ten: three seeds.
#[test]
fn ten_devices_do_not_afford_epsilon_1() {
    let report = run(&Settings { seeds: 3, ..settings(10, 1.0, 30, Shape::default()) }, &|_| ()).unwrap();
    let group = &report.groups[0];
    assert!(group.plain.mean() > 0.7, "ten devices learn without noise: {:?}", group.plain);
    for cell in &group.cells {
        assert_eq!(cell.plan.verdict, Verdict::Hopeless, "{}", cell.plan.sentence);
        assert!(cell.accuracy.mean() < 0.2, "{:?}: {:?}", cell.plan.trust, cell.accuracy);
    }
    let text = report.text();
    assert!(text.contains("10 devices; without noise 0.") && text.contains("Training cannot work"), "{text}");
}

#[test]
fn a_run_is_repeatable_and_reports_all_of_its_work() {
    let shape = Shape { examples: 5, tests: 40, ..SMALL };
    let settings = Settings { devices: vec![12, 3], epsilons: vec![2.0, 8.0], seeds: 2, ..settings(1, 1.0, 2, shape) };
    let done = AtomicU64::new(0);
    let report = run(&settings, &|updates| _ = done.fetch_add(updates, Ordering::Relaxed)).unwrap();
    assert_eq!(done.into_inner(), settings.work());
    assert_eq!(report.json().unwrap(), run(&settings, &|_| ()).unwrap().json().unwrap());

    let rows: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let rows = rows["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * (1 + 2 * 2));
    let key = |row: &serde_json::Value| format!("{} {} {}", row["devices"], row["noise"], row["epsilon"]);
    assert_eq!(key(&rows[0]), "12 \"none\" null");
    assert_eq!(key(&rows[2]), "12 \"distributed\" 8.0");
    assert_eq!(key(&rows[8]), "3 \"local\" 2.0");
    assert!(rows.iter().all(|row| row["accuracy_by_seed"].as_array().unwrap().len() == 2));

    let folder = tempfile::tempdir().unwrap();
    let (svg, png) = (folder.path().join("a.svg"), folder.path().join("a.png"));
    crate::chart::save(&report, &svg, &png).unwrap();
    let text = std::fs::read_to_string(svg).unwrap();
    assert!(text.contains("12 devices") && text.contains("3 devices") && text.contains("local noise"));
    assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn impossible_settings_are_refused_before_any_work() {
    let fine = settings(10, 1.0, 1, SMALL);
    for (name, settings, says) in [
        ("no devices", Settings { devices: vec![], ..fine.clone() }, "at least one device"),
        ("a cohort of nobody", Settings { devices: vec![10, 0], ..fine.clone() }, "at least one device"),
        ("no epsilon", Settings { epsilons: vec![], ..fine.clone() }, "at least one epsilon"),
        ("a negative epsilon", Settings { epsilons: vec![1.0, -1.0], ..fine.clone() }, "epsilon -1"),
        ("a delta of 1", Settings { delta: 1.0, ..fine.clone() }, "delta 1"),
        ("no rounds", Settings { rounds: 0, ..fine.clone() }, "at least one round"),
        ("no seeds", Settings { seeds: 0, ..fine }, "at least one seed"),
    ] {
        let error = run(&settings, &|_| panic!("{name}: something was trained")).map(drop).unwrap_err();
        assert!(format!("{error:#}").contains(says), "{name}: {error:#}");
    }
}

#[test]
fn deviations_are_of_a_sample() {
    let accuracy = Accuracy(vec![0.2, 0.4, 0.6]);
    assert!((accuracy.mean() - 0.4).abs() < 1e-12 && (accuracy.deviation() - 0.2).abs() < 1e-12);
    assert_eq!(Accuracy(vec![0.5]).deviation(), 0.0);
}
