"""An independent client (grpcio, C core) against a running Weir: grpcio_client.py HOST:PORT"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

VIDEO = "http://s1.origin-cluster/video/123/xcg2djHckad.m3u8"
CDN = "http://cdn.example.com/s1/video/123/xcg2djHckad.m3u8"


def varint(number):
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def encode(text):
    raw = text.encode()
    return b"\x0a" + varint(len(raw)) + raw if raw else b""


def decode(message):
    assert message[:1] == b"\x0a" and message[1] < 0x80, message
    assert len(message) == 2 + message[1], message
    return message[2:].decode()


def redirect(channel):
    return channel.unary_unary("/loadBalancer.loadBalancer/Redirect", encode, decode)


def code_of(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def main(address):
    with grpc.insecure_channel(address) as channel:
        call = redirect(channel)
        answers = [call(VIDEO, timeout=10) for _ in range(1000)]
        assert answers.count(VIDEO) == 100 and answers.count(CDN) == 900, set(answers)
        print("1,000 calls in a row: 100 to the origin")

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: call(VIDEO, timeout=10), range(2000)))
        assert answers.count(VIDEO) == 200, answers.count(VIDEO)
        print("2,000 calls from 16 threads: 200 to the origin")

        for video, expected in [
            ("", grpc.StatusCode.INVALID_ARGUMENT),
            ("http://good@evil/", grpc.StatusCode.INVALID_ARGUMENT),
            ("http://s1.evil/x", grpc.StatusCode.PERMISSION_DENIED),
            ("v" * 70_000, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ]:
            code = code_of(call, video, timeout=10)
            assert code == expected, (video[:40], code)
        unknown = channel.unary_unary("/loadBalancer.loadBalancer/Nope", encode, decode)
        assert code_of(unknown, VIDEO, timeout=10) == grpc.StatusCode.UNIMPLEMENTED
        assert code_of(call, VIDEO, timeout=10) == grpc.StatusCode.OK
        print("refusals have their codes, and the channel lives on")

        health = channel.unary_unary("/grpc.health.v1.Health/Check", encode, bytes)
        assert health("", timeout=10) == b"\x08\x01"
        assert health("loadBalancer.loadBalancer", timeout=10) == b"\x08\x01"
        print("health is SERVING")

    for compression in [grpc.Compression.Gzip, grpc.Compression.Deflate]:
        with grpc.insecure_channel(address, compression=compression) as channel:
            answers = [redirect(channel)(VIDEO, timeout=10) for _ in range(10)]
            assert sorted(answers) == sorted([CDN] * 9 + [VIDEO]), answers
    print("compressed calls are answered: 1 of 10 to the origin")


main(sys.argv[1])
