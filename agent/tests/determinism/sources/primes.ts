// Sieves, sorts and joins: arrays, maps and strings of AssemblyScript.
const sieve = new Uint8Array(200000);
const primes: i32[] = [];
for (let i = 2; i < sieve.length; i++) {
  if (sieve[i]) continue;
  primes.push(i);
  for (let j = i * 2; j < sieve.length; j += i) sieve[j] = 1;
}
const gaps = new Map<i32, i32>();
for (let i = 1; i < primes.length; i++) {
  const gap = primes[i] - primes[i - 1];
  gaps.set(gap, (gaps.has(gap) ? gaps.get(gap) : 0) + 1);
}
const lines: string[] = [];
const keys = gaps.keys();
for (let i = 0; i < keys.length; i++) lines.push(keys[i].toString() + "=" + gaps.get(keys[i]).toString());
console.log(primes.length.toString() + " primes, gaps " + lines.join(" "));
keys.sort((a, b) => gaps.get(b) - gaps.get(a));
console.log("most " + keys.slice(0, 5).join(" "));
