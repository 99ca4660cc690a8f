from r1_cpp import main

main()
