"""Every study has one topic, and every topic is of studies that exist."""

from __future__ import annotations

from collections import Counter

from thalweg.studies import STUDIES
from thalweg.studies.topics import OTHER, TOPICS, topic_of


def test_every_study_has_exactly_one_topic():
    named = Counter(slug for slugs in TOPICS.values() for slug in slugs)
    assert set(named) == set(STUDIES), "studies/topics.py names each study once: add it to the topic that fits"
    assert set(named.values()) == {1}
    assert {topic_of(slug) for slug in STUDIES} == set(TOPICS)


def test_a_study_without_a_topic_is_other():
    assert topic_of("no-such-study") == OTHER
    assert OTHER not in TOPICS
