// A counter that may be loaded, with its parity, and a small memory that it addresses.
module counter(input clk, input reset, input load, input [7:0] value, output reg [7:0] count,
               output parity, output reg [3:0] found);
  reg [3:0] memory [0:15];
  always @(posedge clk)
    if (reset) count <= 0;
    else if (load) begin
      count <= value;
      memory[value[3:0]] <= value[7:4] ^ count[3:0];
    end else count <= count * 3 + 1;
  always @(posedge clk) found <= memory[count[3:0]];
  assign parity = ^count;
endmodule
