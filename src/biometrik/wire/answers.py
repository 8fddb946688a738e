"""Decisions, searches, enrolments, and how far a session is."""

from biometrik.reasons import Locale
from biometrik.types import Candidate, Component, Decision, Enrollment, Identification, Interval, SearchCoverage
from biometrik.v1 import decision_pb2, enrollment_service_pb2
from biometrik.verdicts import Submitted, TraitState
from biometrik.wire.enumerations import BASES, ENROLLMENT_OUTCOMES, OUTCOMES, STANDINGS, SUBMIT_OUTCOMES
from biometrik.wire.reports import (
    advice_from_wire,
    advice_to_wire,
    report_from_wire,
    report_to_wire,
    reports_from_wire,
    reports_to_wire,
)
from biometrik.wire.requests import trait_from_wire, trait_to_wire


def interval_to_wire(interval: Interval) -> decision_pb2.Interval:
    """Return a rate with its interval."""
    return decision_pb2.Interval(
        value=interval.value, low=interval.low, high=interval.high, confidence=interval.confidence
    )


def interval_from_wire(message: decision_pb2.Interval) -> Interval:
    """Return a rate with its interval."""
    return Interval(message.value, message.low, message.high, message.confidence)


def component_to_wire(component: Component) -> decision_pb2.Component:
    """Return what a trait contributed."""
    return decision_pb2.Component(
        trait=trait_to_wire(component.trait),
        score=component.score,
        raw_score=component.raw_score,
        comparisons=component.comparisons,
        calibration_id=component.calibration_id,
        model_contract_id=component.model_contract_id,
        capped=component.capped,
    )


def component_from_wire(message: decision_pb2.Component) -> Component:
    """Return what a trait contributed."""
    return Component(
        trait_from_wire(message.trait),
        message.score,
        message.raw_score,
        message.comparisons,
        message.calibration_id,
        message.model_contract_id,
        message.capped,
    )


def state_to_wire(state: TraitState) -> enrollment_service_pb2.SessionTrait:
    """Return how far a trait of a session is."""
    return enrollment_service_pb2.SessionTrait(
        trait=trait_to_wire(state.trait),
        standing=STANDINGS.to_wire(state.standing),
        attempts_left=state.attempts_left,
        basis=BASES.to_wire(state.basis) if state.basis else enrollment_service_pb2.CAPTURE_BASIS_UNSPECIFIED,
    )


def state_from_wire(message: enrollment_service_pb2.SessionTrait) -> TraitState:
    """Return how far a trait of a session is."""
    return TraitState(
        trait_from_wire(message.trait),
        STANDINGS.from_wire(message.standing),
        message.attempts_left,
        BASES.get(message.basis),
    )


def submitted_to_wire(submitted: Submitted, locale: Locale) -> enrollment_service_pb2.SubmitSampleResponse:
    """Return the answer to a sample that was submitted to a session."""
    return enrollment_service_pb2.SubmitSampleResponse(
        outcome=SUBMIT_OUTCOMES.to_wire(submitted.outcome),
        advice=advice_to_wire(submitted.reasons, locale),
        same_as=None if submitted.same_as is None else trait_to_wire(submitted.same_as),
        report=report_to_wire(submitted.report, locale),
        traits=[state_to_wire(state) for state in submitted.traits],
    )


def submitted_from_wire(message: enrollment_service_pb2.SubmitSampleResponse) -> Submitted:
    """Return the answer to a sample that was submitted to a session."""
    return Submitted(
        SUBMIT_OUTCOMES.from_wire(message.outcome),
        advice_from_wire(message.advice),
        trait_from_wire(message.same_as) if message.HasField("same_as") else None,
        report_from_wire(message.report),
        tuple(state_from_wire(state) for state in message.traits),
    )


def decision_to_wire(decision: Decision, locale: Locale) -> decision_pb2.Decision:
    """Return a decision with all that it rests on."""
    return decision_pb2.Decision(
        outcome=OUTCOMES.to_wire(decision.outcome),
        advice=advice_to_wire(decision.reasons, locale),
        score=decision.score,
        threshold=decision.threshold,
        max_fmr=decision.max_fmr,
        achieved_fmr=interval_to_wire(decision.achieved_fmr),
        raw_score=decision.raw_score,
        comparisons=decision.comparisons,
        subject_id=decision.subject_id,
        encounter_id=decision.encounter_id,
        calibration_id=decision.calibration_id,
        model_contract_id=decision.model_contract_id,
        samples=reports_to_wire(decision.samples, locale),
        components=[component_to_wire(row) for row in decision.components],
    )


def decision_from_wire(message: decision_pb2.Decision) -> Decision:
    """Return a decision."""
    return Decision(
        outcome=OUTCOMES.from_wire(message.outcome),
        reasons=advice_from_wire(message.advice),
        score=message.score if message.HasField("score") else None,
        threshold=message.threshold,
        max_fmr=message.max_fmr,
        achieved_fmr=interval_from_wire(message.achieved_fmr),
        raw_score=message.raw_score if message.HasField("raw_score") else None,
        comparisons=message.comparisons,
        subject_id=message.subject_id,
        encounter_id=message.encounter_id,
        calibration_id=message.calibration_id,
        model_contract_id=message.model_contract_id,
        samples=reports_from_wire(message.samples),
        components=tuple(component_from_wire(row) for row in message.components),
    )


def coverage_to_wire(coverage: SearchCoverage) -> decision_pb2.SearchCoverage:
    """Return what a search looked at."""
    return decision_pb2.SearchCoverage(
        gallery_version=coverage.gallery_version,
        galleries=coverage.galleries,
        subjects=coverage.subjects,
        compared=coverage.compared,
        mode=decision_pb2.SEARCH_MODE_EXACT if coverage.exact else decision_pb2.SEARCH_MODE_APPROXIMATE,
        recall_claimed=coverage.recall_claimed,
    )


def coverage_from_wire(message: decision_pb2.SearchCoverage) -> SearchCoverage:
    """Return what a search looked at."""
    return SearchCoverage(
        gallery_version=message.gallery_version,
        galleries=tuple(message.galleries),
        subjects=message.subjects,
        compared=message.compared,
        exact=message.mode == decision_pb2.SEARCH_MODE_EXACT,
        recall_claimed=message.recall_claimed,
    )


def identification_to_wire(found: Identification, locale: Locale) -> decision_pb2.Identification:
    """Return a search's answer with all that it rests on."""
    return decision_pb2.Identification(
        outcome=OUTCOMES.to_wire(found.outcome),
        advice=advice_to_wire(found.reasons, locale),
        candidates=[
            decision_pb2.Candidate(
                rank=c.rank,
                subject_id=c.subject_id,
                encounter_id=c.encounter_id,
                galleries=c.galleries,
                score=c.score,
                raw_score=c.raw_score,
                is_match=c.is_match,
                components=[component_to_wire(row) for row in c.components],
            )
            for c in found.candidates
        ],
        threshold=found.threshold,
        max_fpir=found.max_fpir,
        achieved_fpir=None if found.achieved_fpir is None else interval_to_wire(found.achieved_fpir),
        coverage=coverage_to_wire(found.coverage),
        calibration_id=found.calibration_id,
        model_contract_id=found.model_contract_id,
        samples=reports_to_wire(found.samples, locale),
    )


def identification_from_wire(message: decision_pb2.Identification) -> Identification:
    """Return a search's answer."""
    return Identification(
        outcome=OUTCOMES.from_wire(message.outcome),
        reasons=advice_from_wire(message.advice),
        candidates=tuple(
            Candidate(
                c.rank,
                c.subject_id,
                c.encounter_id,
                tuple(c.galleries),
                c.score,
                c.raw_score if c.HasField("raw_score") else None,
                c.is_match,
                tuple(component_from_wire(row) for row in c.components),
            )
            for c in message.candidates
        ),
        threshold=message.threshold if message.HasField("threshold") else None,
        max_fpir=message.max_fpir if message.HasField("max_fpir") else None,
        achieved_fpir=interval_from_wire(message.achieved_fpir) if message.HasField("achieved_fpir") else None,
        coverage=coverage_from_wire(message.coverage),
        calibration_id=message.calibration_id,
        model_contract_id=message.model_contract_id,
        samples=reports_from_wire(message.samples),
    )


def enrollment_to_wire(enrollment: Enrollment, locale: Locale) -> enrollment_service_pb2.EnrollResponse:
    """Return an enrolment's answer."""
    return enrollment_service_pb2.EnrollResponse(
        outcome=ENROLLMENT_OUTCOMES.to_wire(enrollment.outcome),
        subject_id=enrollment.subject_id,
        encounter_id=enrollment.encounter_id,
        template_count=enrollment.templates,
        samples=reports_to_wire(enrollment.samples, locale),
        search=None if enrollment.search is None else identification_to_wire(enrollment.search, locale),
    )


def enrollment_from_wire(message: enrollment_service_pb2.EnrollResponse) -> Enrollment:
    """Return an enrolment's answer."""
    return Enrollment(
        outcome=ENROLLMENT_OUTCOMES.from_wire(message.outcome),
        subject_id=message.subject_id,
        encounter_id=message.encounter_id,
        templates=message.template_count,
        samples=reports_from_wire(message.samples),
        search=identification_from_wire(message.search) if message.HasField("search") else None,
    )
