"""What a sender sees when there is no room: over its quota, or in a queue that is full."""

from pathlib import Path

import httpx
from http_listener import GOOD, bearer, running_listener, wait_until

from jobico.limits import MIB
from jobico.tenancy import Quotas


def check_comes_back(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.json()["type"] == f"urn:jobico:problem:{code}"
    assert int(response.headers["retry-after"]) >= 1


def test_a_tenant_over_its_rate_is_429_and_others_are_not(home: Path) -> None:
    with running_listener(home, quotas=Quotas(events_per_s=5)) as listener:
        answers = [listener.post() for _ in range(30)]
        refused = [answer for answer in answers if answer.status_code != 202]
        assert len(answers) - len(refused) >= 5
        assert refused
        for answer in refused:
            check_comes_back(answer, 429, "quota-exceeded")
        foreign = listener.post(path="/events/globex/customer", headers=bearer("globex"))
        assert foreign.status_code == 202
        wait_until(lambda: listener.post().status_code == 202, timeout_s=5)


def test_a_tenant_with_too_much_queued_is_429_until_some_of_it_is_gone(home: Path) -> None:
    with running_listener(home, quotas=Quotas(queued_events=3)) as listener:
        posted = [listener.post().json()["status_url"] for _ in range(3)]
        check_comes_back(listener.post(), 429, "quota-exceeded")
        assert httpx.delete(listener.url + posted[0], headers=bearer()).status_code == 204
        wait_until(lambda: listener.post().status_code == 202, timeout_s=5)


def test_a_full_queue_is_503_and_not_ready_then_recovers_by_itself(home: Path) -> None:
    """Whatever was answered with 202 is there; settlements (here: cancelling) still go through."""
    filler = {**GOOD, "filler": "x" * 200_000}
    with running_listener(home, JOBICO_QUEUE_MAP_BYTES=str(8 * MIB)) as listener:
        urls = []
        while (answer := listener.post(filler)).status_code == 202:
            urls.append(listener.url + answer.json()["status_url"])
        check_comes_back(answer, 503, "storage-unavailable")
        assert urls
        wait_until(lambda: httpx.get(listener.url + "/readyz").status_code == 503, timeout_s=5)
        for url in urls:
            assert httpx.get(url, headers=bearer()).json()["state"] == "queued"
        for url in urls[1:]:
            assert httpx.delete(url, headers=bearer()).status_code == 204
        wait_until(lambda: listener.post().status_code == 202)
        assert httpx.get(listener.url + "/readyz").status_code == 200
        assert httpx.get(urls[0], headers=bearer()).json()["state"] == "queued"
