// A world of cells that live and die, with templates, virtual calls and memory that comes and goes.
#include <array>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

struct Rule {
    virtual ~Rule() = default;
    virtual bool lives(bool alive, int neighbours) const = 0;
};
struct Conway : Rule {
    bool lives(bool alive, int neighbours) const override { return neighbours == 3 || (alive && neighbours == 2); }
};
struct HighLife : Rule {
    bool lives(bool alive, int n) const override { return n == 3 || (!alive && n == 6) || (alive && n == 2); }
};

template <int Size> struct World {
    using Cells = std::array<std::array<bool, Size>, Size>;
    std::unique_ptr<Cells> cells = std::make_unique<Cells>();

    void step(const Rule &rule) {
        auto next = std::make_unique<Cells>();
        for (int y = 0; y < Size; y++)
            for (int x = 0; x < Size; x++) {
                int neighbours = 0;
                for (int dy = -1; dy <= 1; dy++)
                    for (int dx = -1; dx <= 1; dx++)
                        if (dx || dy) neighbours += (*cells)[(y + dy + Size) % Size][(x + dx + Size) % Size];
                (*next)[y][x] = rule.lives((*cells)[y][x], neighbours);
            }
        cells = std::move(next);
    }
    int population() const {
        int count = 0;
        for (const auto &row : *cells) for (bool cell : row) count += cell;
        return count;
    }
};

int main() {
    std::vector<std::unique_ptr<Rule>> rules;
    rules.push_back(std::make_unique<Conway>());
    rules.push_back(std::make_unique<HighLife>());
    for (const auto &rule : rules) {
        World<48> world;
        unsigned random = 7;
        for (auto &row : *world.cells) for (bool &cell : row) cell = (random = random * 1103515245 + 12345) >> 30 == 0;
        std::string populations;
        std::function<void()> tell = [&] { populations += std::to_string(world.population()) + ' '; };
        for (int i = 0; i < 60; i++) { world.step(*rule); if (i % 6 == 5) tell(); }
        std::cout << populations << '\n';
    }
}
