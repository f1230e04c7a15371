"""Every reason for which processing can fail a document or wait, with what helps."""

ADVICE = {
    "encrypted": "Remove the password and upload it again.",
    "empty": "Check that it was saved, and upload it again.",
    "broken": "Open it in its own program, save it anew and upload that.",
    "unsupported": "Save it in another format, such as PDF, and upload that.",
    "no_text": "If it shows its text as a picture, run text recognition (OCR) over it, or have it installed here.",
    "too_many_pages": "Split it into smaller files and upload those.",
    "too_large": "Split it into smaller files and upload those.",
    "timeout": "Try again when the machine is less busy, or split it into smaller files and upload those.",
    "out_of_memory": "Split it into smaller files and upload those.",
    "crashed": "Try again; if it fails again, split the file into smaller ones, or tell an administrator.",
    "internal_error": "Try again, or tell an administrator.",
    "file_missing": "Upload it again: that mends this document.",
    "storage_error": "Tell an administrator; then try again.",
    "embedding_rejected": "Tell an administrator, who can see to the embedding model; then try again.",
}
"""By the error's code, for where its own sentence says only what happened."""

WAITS = {
    "encoder_unavailable": "The embedding model cannot be reached. This document goes on by itself when it is back.",
    "sandbox_unavailable": "The reading service is restarting. This document goes on by itself when it is back.",
    "storage_unavailable": "The disk is full or cannot be reached. This document goes on by itself when it can.",
    "database_unavailable": "The database was away. This document goes on by itself.",
}
"""What passes by itself, as it is told."""


def told(code: str, detail: str) -> str:
    """What happened and what helps. A detail of several sentences says both already."""
    sentences = [part for part in detail.split(". ") if part.strip()]
    advice = ADVICE.get(code, ADVICE["internal_error"])
    return detail if len(sentences) > 1 else f"{detail.rstrip('.')}. {advice}"


def wait_code(sentence: str) -> str:
    """The code of a sentence of WAITS."""
    return next((code for code, known in WAITS.items() if known == sentence), "unavailable")
