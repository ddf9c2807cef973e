"""What CPython leaves to chance on other machines: the order of sets, hashes of text, random numbers, time."""

import hashlib
import json
import os
import random
import sys
import time

import wit_world.exports


class Run(wit_world.exports.Run):
    def run(self) -> None:
        words = "the fuel of a guest is the currency of a cluster".split()
        print("set", list(set(words)))
        print("hashes", [hash(word) & 0xFFFF for word in words[:4]], hash(1.5), hash(None) & 0xFF)
        print("random", random.random(), random.randrange(10**6), os.urandom(8).hex())
        print("time", time.strftime("%Y-%m-%d", time.gmtime()), time.monotonic() < 3600)
        numbers = [random.gauss(0, 1) for _ in range(2000)]
        text = json.dumps({"numbers": sorted(numbers), "words": words}, sort_keys=True)
        print("json", len(text), hashlib.sha256(text.encode()).hexdigest())
        print("floats", sum(numbers), 0.1 + 0.2, float("nan"), 2.0**-1074, 10.0**22)
        counts: dict[str, int] = {}
        for i in range(30000):
            key = words[i * i % len(words)] + str(i % 17)
            counts[key] = counts.get(key, 0) + i
        print("counts", len(counts), max(counts.items(), key=lambda item: item[1]))
        before = time.monotonic()
        time.sleep(3600)
        print("slept", round(time.monotonic() - before))
        print("files", sorted(os.listdir("/in/d")), open("/in/f").read(), sys.argv[1:])
        with open("/out/numbers.json", "w") as file:
            file.write(text)
        try:
            print(1 // 0)
        except ZeroDivisionError as error:
            print("error", error)
