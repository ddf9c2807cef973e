// Containers of the standard library: ordered, hashed, by priority; what iostream makes of numbers.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <iomanip>
#include <iostream>
#include <map>
#include <numeric>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

int main() {
    std::mt19937_64 random(42);
    std::map<std::string, std::vector<int>> ordered;
    std::unordered_map<std::string, int> hashed;
    std::priority_queue<std::pair<std::uint64_t, int>> queue;
    for (int i = 0; i < 5000; i++) {
        std::string key = "key" + std::to_string(random() % 700);
        ordered[key].push_back(i);
        hashed[key] += i;
        queue.push({random() % 100000, i});
    }
    std::uint64_t sum = 0;
    for (const auto &[key, values] : ordered)
        sum = sum * 31 + std::accumulate(values.begin(), values.end(), std::uint64_t{key.size()});
    std::cout << "ordered " << ordered.size() << ' ' << sum << '\n' << "hashed";
    int left = 8;
    // The order of a hashed container is the library's, but the same in every run.
    for (const auto &[key, value] : hashed)
        if (left-- > 0) std::cout << ' ' << key << '=' << value;
    std::cout << "\nqueue";
    for (int i = 0; i < 8; i++, queue.pop()) std::cout << ' ' << queue.top().first << '/' << queue.top().second;
    std::vector<double> values(10000);
    std::normal_distribution<double> normal(1.5, 0.3);
    for (double &value : values) value = normal(random);
    std::nth_element(values.begin(), values.begin() + 5000, values.end());
    std::cout << "\nmedian " << std::setprecision(17) << values[5000] << std::hex << std::showbase << ' ' << 48879
              << std::fixed << std::setprecision(3) << ' ' << 1e10 / 3 << std::scientific << ' ' << 2e-7 / 3 << '\n';
    std::deque<int> deque;
    for (int i = 0; i < 1000; i++) i % 3 ? deque.push_back(i) : deque.push_front(i);
    std::set<std::size_t> places;
    for (std::size_t i = 0; i < deque.size(); i += 97) places.insert(deque[i]);
    for (auto place : places) std::cout << place << ' ';
    std::cout << std::endl;
}
