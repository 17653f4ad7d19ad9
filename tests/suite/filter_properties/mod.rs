//! What holds for every expression and all facts.

mod generate;
mod naive;

use std::sync::Arc;

use crate::filter_support::FewNames;
use generate::{Choices, PIECES};
use proptest::collection::vec;
use proptest::prelude::*;
use tracexec::filter::{Answer, Expr, Filter, FilterError};

fn filter(text: &[u8]) -> Result<Filter, FilterError> {
    Filter::new(&[text], Arc::new(FewNames))
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..150)
}

/// What an error shows must not drive a terminal, and its marks must stand under the place.
fn is_harmless(error: &FilterError) -> bool {
    let shown = error.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    let marks = lines[2].trim_start_matches(' ');
    let marks_end = lines[2].chars().count();
    shown.chars().all(|c| c == '\n' || !c.is_control())
        && !marks.is_empty()
        && marks.chars().all(|c| c == '^')
        && marks_end <= 80
        && marks_end <= lines[1].chars().count() + 1
}

fn text_is_read_or_refused(text: &[u8]) -> Result<(), TestCaseError> {
    if let Err(error) = filter(text) {
        prop_assert!(is_harmless(&error), "{error}");
    }
    if let Ok(expr) = Expr::parse(text) {
        let again = Expr::parse(&expr.to_bytes());
        prop_assert_eq!(again, Ok(expr));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(text in vec(any::<u8>(), 0..60)) {
        text_is_read_or_refused(&text)?;
    }

    #[test]
    fn any_pieces_of_the_language_are_read_or_refused(
        pieces in vec(prop::sample::select(&PIECES[..]), 0..24),
    ) {
        text_is_read_or_refused(&pieces.concat())?;
    }

    #[test]
    fn what_is_written_reads_back_the_same(choices in choices()) {
        let expr = generate::written(&mut Choices(&choices));
        let text = expr.to_bytes();
        match Expr::parse(&text) {
            Ok(read) => prop_assert_eq!(read, expr),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn an_answer_is_what_the_naive_evaluation_says(
        expression in choices(),
        facts in choices(),
        hidden in choices(),
    ) {
        let expr = generate::sensible(&mut Choices(&expression));
        let mut full = generate::facts(&mut Choices(&facts));
        let mut part = generate::partly(&full, &mut Choices(&hidden));
        let truth = if naive::holds(&expr, &full) { Answer::Yes } else { Answer::No };

        let filter = filter(&expr.to_bytes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(filter.judge(&mut full).answer, truth, "{}", &expr);
        let judgement = filter.judge(&mut part);
        prop_assert!([truth, Answer::Unknown].contains(&judgement.answer), "{}", &expr);
        prop_assert!((0.0..=1.0).contains(&judgement.closeness));
        prop_assert_eq!(judgement.closeness == 1.0, judgement.answer == Answer::Yes);
    }

    #[test]
    fn the_reason_for_an_answer_is_an_expression_with_that_answer(
        expression in choices(),
        facts in choices(),
    ) {
        let expr = generate::sensible(&mut Choices(&expression));
        let mut facts = generate::facts(&mut Choices(&facts));
        let whole = filter(&expr.to_bytes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let judgement = whole.judge(&mut facts);
        let because = whole.because(&mut facts);
        let reason = whole.failed_test(&judgement).unwrap_or_else(|| because.clone());
        prop_assert_eq!(because.is_empty(), judgement.answer == Answer::No);
        match filter(reason.as_bytes()) {
            Ok(part) => prop_assert_eq!(part.judge(&mut facts).answer, judgement.answer),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}
