import pytest

from chef_failover.config.source import Source, Store, parse_key_source, parse_list_source


@pytest.mark.parametrize("text", ["s3://fleet/a/b.yml", "ssm:/chef/servers", "ssm:servers", "file:/srv/list.yml"])
def test_an_address_is_read_and_written_alike(text):
    assert str(parse_list_source(text)) == text


@pytest.mark.parametrize(
    "text", [None, 5, "", "s3:/fleet/a", "s3://fleet", "s3://fleet/", "file:a", "ssm:", "http://a"]
)
def test_what_is_no_address_is_said_with_what_would_be_right(text):
    with pytest.raises(ValueError, match="write s3://bucket/key, ssm:/name or file:/absolute/path"):
        parse_list_source(text)


KEYS = {
    "file:/etc/v.pem": Source(Store.FILE, "/etc/v.pem"),
    "secretsmanager:chef/v": Source(Store.SECRETS_MANAGER, "chef/v"),
    "secretsmanager:arn:aws:x#key": Source(Store.SECRETS_MANAGER, "arn:aws:x", "key"),
    "ssm:/chef/v": Source(Store.PARAMETER_STORE, "/chef/v"),
}


@pytest.mark.parametrize(("text", "source"), KEYS.items())
def test_a_key_s_source_is_read_and_written_alike(text, source):
    assert parse_key_source(text) == source
    assert str(source) == text


def test_a_number_sign_with_nothing_after_it_names_no_key():
    assert parse_key_source("secretsmanager:a#") == Source(Store.SECRETS_MANAGER, "a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((text, "not a source of a key") for text in (None, 5, "", "ssm:", "s3://fleet/a", "hidden")),
        *((text, "the path after file: must be absolute") for text in ("file:hidden", "file:/hidden\n")),
        *((text, "not a valid name in AWS") for text in ("ssm:a#hidden", "ssm:a hidden")),
        *((text, "not a valid name in AWS") for text in ("secretsmanager:#hidden", "secretsmanager:a#hidden\n")),
    ],
)
def test_what_is_no_source_of_a_key_is_not_repeated(text, said):
    with pytest.raises(ValueError, match="write file:/absolute/path, .* or ssm:NAME$") as caught:
        parse_key_source(text)
    assert str(caught.value).startswith(f"{said}; ")
    assert "hidden" not in repr([caught.value, caught.value.__cause__])
