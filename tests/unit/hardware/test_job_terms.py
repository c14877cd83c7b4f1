from hardware.job_terms import NOTHING_AGREED, JobTerms, TermsRule, terms_of

BATCH = JobTerms(tier="flex2", min_throughput=0.75, max_pause_s=240.0)
URGENT = JobTerms(tier="flex0", min_throughput=1.0)
RULES = (
    TermsRule(where={"partition": "train", "name": "urgent-*"}, terms=URGENT),
    TermsRule(where={"partition": "train"}, terms=BATCH),
)


def test_first_rule_that_matches_in_every_attribute_gives_the_terms() -> None:
    assert terms_of({"partition": "train", "name": "urgent-7"}, RULES) is URGENT
    assert terms_of({"partition": "train", "name": "nightly"}, RULES) is BATCH


def test_job_that_no_rule_speaks_of_is_left_alone() -> None:
    assert terms_of({"partition": "infer", "name": "urgent-7"}, RULES) is NOTHING_AGREED
    assert terms_of({"name": "nightly"}, RULES) is NOTHING_AGREED
    assert terms_of({"partition": "Train"}, RULES) is NOTHING_AGREED
    assert NOTHING_AGREED.max_pause_s == 0.0
    assert NOTHING_AGREED.min_throughput == 1.0


def test_rule_without_conditions_speaks_of_every_job() -> None:
    assert terms_of({}, (TermsRule(terms=BATCH),)) is BATCH
