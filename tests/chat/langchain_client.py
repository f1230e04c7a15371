"""LangChain's ChatOpenAI against this site; prints what it understood as one line of JSON.

A program of its own, so that it can run with another Python than the tests (``LANGCHAIN_TEST_PYTHON``): the package
brings some forty others.
"""

import json
import sys
from typing import Any


def main() -> None:
    from langchain_core.messages import HumanMessage, SystemMessage
    from langchain_openai import ChatOpenAI

    url, key, question = sys.argv[1:]

    def model(**values: Any) -> Any:
        given = {"model": "ragsite", "api_key": key, "max_retries": 0} | values
        return ChatOpenAI(base_url=f"{url}/v1", stream_usage=True, **given)

    def failure(**values: Any) -> str:
        try:
            model(**values).invoke(question)
        except Exception as error:
            return str(error)
        return ""

    whole = model().invoke([SystemMessage("Be brief."), HumanMessage(question)])
    pieces = list(model().stream(question))
    streamed = pieces[0]
    for piece in pieces[1:]:
        streamed += piece
    seen = {
        "whole": {"text": whole.text, "usage": whole.usage_metadata, "why": whole.response_metadata["finish_reason"]},
        "streamed": {"text": streamed.text, "usage": streamed.usage_metadata, "pieces": len(pieces)},
        "wrong_key": failure(api_key="wrong"),
        "wrong_model": failure(model="gpt-4"),
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
