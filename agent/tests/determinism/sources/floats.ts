// Floats as AssemblyScript computes and prints them, random numbers, and the time.
let sum: f64 = 0;
for (let i = 1; i < 20000; i++) sum += Math.sin(i) / i + Math.pow(1.0001, i) - Math.log(i) * Math.atan2(i, 3);
console.log("sum " + sum.toString());
console.log("nan " + reinterpret<u64>(0.0 / (sum - sum)).toString(16) + " " + reinterpret<u32>(f32(NaN) + f32(1)).toString(16));
console.log("small " + (Number.MIN_VALUE * 3).toString() + " " + (1e21).toString() + " " + (0.1 + 0.2).toString());
for (let i = 0; i < 4; i++) console.log("random " + Math.random().toString());
console.log("day " + (Date.now() / 86400000).toString());
